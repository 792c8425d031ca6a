// What create, update, patch and delete have in common.
import { isAlreadyExists, isNotFound } from '../../lib/errors.ts';
import { collectionOf } from '../resources/registry.ts';
import type { StoredObject } from '../resources/resource.ts';
import type { Change, ChangeResult, Entry } from '../storage/resource-store.ts';
import { admitUpdate } from '../admission/admit.ts';
import { deletionBlockers } from '../admission/deletion.ts';
import { alreadyExists, conflict, notFound, OBJECT_MODIFIED } from './api-errors.ts';
import type { ApiDeps, Call } from './call.ts';
import { cloneServed, isServed, serve, toStoredForm, type Served } from './served.ts';

/** Runs a store call and names the resource of the request in its failures, which may not be the stored one. */
export async function inWordsOf<T>(call: Call, name: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (isNotFound(error)) throw notFound(call.resource, name);
    if (isAlreadyExists(error)) throw alreadyExists(call.resource, name);
    throw error;
  }
}

/**
 * Changes the object of `call` by `edit`, which gets a private copy of the served form and returns the wanted one;
 * admission and the conflict check follow. Answers the served result.
 */
export async function changeObject(
  deps: ApiDeps,
  call: Call,
  edit: (current: StoredObject) => StoredObject,
): Promise<Served> {
  const { resource, path, context } = call;
  const decide = (entry: Entry): Change => {
    if (!isServed(resource, entry)) throw notFound(resource, path.name);
    const served = serve(resource, entry);
    call.warnings.length = 0;
    const wanted = edit(cloneServed(served));
    const expected = wanted.metadata.resourceVersion;
    if (expected && expected !== String(entry.revision)) throw conflict(resource, path.name, OBJECT_MODIFIED);
    admitUpdate(resource, wanted, served.object, context);
    const object = toStoredForm(resource, wanted);
    if (wanted.metadata.deletionTimestamp && deletionBlockers(resource, wanted).length === 0) return { kind: 'delete' };
    return { kind: 'put', object };
  };
  const result = await inWordsOf(call, path.name, async () => {
    if (!context.dryRun) {
      const ttl = resource.ttlSeconds === undefined ? {} : { ttlSeconds: resource.ttlSeconds };
      return deps.store.guaranteedUpdate(collectionOf(resource), path.namespace, path.name, decide, ttl);
    }
    return dryChange(deps, call, decide);
  });
  const served = serve(resource, result.entry);
  return served;
}

/** What `decide` would do to the present state, without doing it. */
export async function dryChange(deps: ApiDeps, call: Call, decide: (entry: Entry) => Change): Promise<ChangeResult> {
  const { resource, path } = call;
  const entry = await deps.store.get(collectionOf(resource), path.namespace, path.name);
  if (!entry) throw notFound(resource, path.name);
  const change = decide(entry);
  if (change.kind !== 'put') return { kind: change.kind, entry };
  const object = { ...change.object, metadata: { ...change.object.metadata, resourceVersion: String(entry.revision) } };
  return { kind: 'put', entry: plainEntry(object, entry.revision) };
}

/** An entry that is not stored, for answers to dry runs. */
export function plainEntry(object: StoredObject, revision: number): Entry {
  const bytes = Buffer.from(JSON.stringify(object));
  return {
    namespace: object.metadata.namespace ?? '',
    name: object.metadata.name,
    revision,
    bytes,
    object,
    clone: () => JSON.parse(bytes.toString()) as StoredObject,
  };
}
