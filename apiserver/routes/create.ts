import { isAlreadyExists } from '../../lib/errors.ts';
import { acceptBody, admitCreate } from '../admission/admit.ts';
import { generateName } from '../admission/generate-name.ts';
import { checkNamespaceAccepts } from '../admission/namespace-lifecycle.ts';
import { checkNodeCreate } from '../admission/node-creates.ts';
import { checkRequestQuota } from '../admission/request-quota.ts';
import { collectionOf } from '../resources/registry.ts';
import type { StoredObject } from '../resources/resource.ts';
import type { Entry } from '../storage/resource-store.ts';
import { alreadyExists, badRequest, invalid, methodNotAllowed } from './api-errors.ts';
import { decodeBody } from './body.ts';
import type { Answer, ApiDeps, Call } from './call.ts';
import { renderObject } from './render.ts';
import { fieldValidationOf } from './request-options.ts';
import { isView, serve, toStoredForm } from './served.ts';
import { inWordsOf, plainEntry } from './write.ts';

/** With generateName, a taken name is tried again this often before the client hears of it. */
const NAME_ATTEMPTS = 8;

/** POST to a collection. */
export async function handleCreate(deps: ApiDeps, call: Call): Promise<Answer> {
  const { resource, path, context, warnings } = call;
  if (isView(resource)) throw methodNotAllowed();
  if (resource.isTerminating === true) {
    throw methodNotAllowed('create not allowed while custom resource definition is terminating');
  }
  if (resource.namespaced && path.namespace === '') {
    throw badRequest('an empty namespace may not be set during creation');
  }
  const { object: body, duplicates } = decodeBody(call.body, call.contentType);
  const target = { resource, namespace: path.namespace, name: '' };
  const accepted = acceptBody(body, target, { mode: fieldValidationOf(call.query), duplicates, warnings });
  const base = accepted.metadata.generateName;
  const isGenerated = !accepted.metadata.name && Boolean(base);
  if (!accepted.metadata.name && !base) {
    const detail = 'name or generateName is required';
    throw invalid(resource, '', [{ type: 'FieldValueRequired', field: 'metadata.name', detail }]);
  }
  for (let attempt = 1; ; attempt += 1) {
    const object = structuredClone(accepted);
    if (isGenerated) object.metadata.name = generateName(base as string);
    admitCreate(resource, object, context);
    await checkNodeCreate(deps.store, resource, object, context);
    if (resource.plural === 'certificatesigningrequests') await checkRequestQuota(deps.store, object, context);
    if (resource.namespaced) await checkNamespaceAccepts(deps.store, resource, path.namespace, object.metadata.name);
    try {
      const entry = await inWordsOf(call, object.metadata.name, () => store(deps, call, object));
      const served = serve(resource, entry);
      return renderObject(call, served, 201);
    } catch (error) {
      if (!isGenerated || !isAlreadyExists(error) || attempt >= NAME_ATTEMPTS) throw error;
    }
  }
}

async function store(deps: ApiDeps, { resource, path, context }: Call, object: StoredObject): Promise<Entry> {
  const stored = toStoredForm(resource, object);
  if (context.dryRun) {
    const { name } = object.metadata;
    if (await deps.store.get(collectionOf(resource), path.namespace, name)) throw alreadyExists(resource, name);
    return plainEntry(stored, 0);
  }
  const ttl = resource.ttlSeconds === undefined ? {} : { ttlSeconds: resource.ttlSeconds };
  return deps.store.create(collectionOf(resource), stored, ttl);
}
