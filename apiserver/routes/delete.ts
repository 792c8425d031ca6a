import { checkPreconditions, markDeleted, parseDeleteOptions, type DeleteOptions } from '../admission/deletion.ts';
import { checkNodeRestriction } from '../admission/node-restriction.ts';
import { PROTECTED_NAMESPACES } from '../admission/namespace-lifecycle.ts';
import { WindlassError } from '../../lib/errors.ts';
import { collectionOf } from '../resources/registry.ts';
import type { Resource } from '../resources/resource.ts';
import type { Change, ChangeResult, Entry } from '../storage/resource-store.ts';
import { notFound } from './api-errors.ts';
import { decodeBody } from './body.ts';
import { jsonAnswer, type Answer, type ApiDeps, type Call } from './call.ts';
import { renderObject } from './render.ts';
import { isDryRun } from './request-options.ts';
import { isServed, serve } from './served.ts';
import { successStatus } from './status.ts';
import { dryChange, inWordsOf } from './write.ts';

/** DELETE of one object: gone, or marked and waiting for its finalizers. */
export async function handleDelete(deps: ApiDeps, call: Call): Promise<Answer> {
  const { resource, path } = call;
  const options = deleteOptionsOf(call);
  const result = await deleteObject(deps, call, path.namespace, path.name, options);
  if (result.kind !== 'delete') return renderObject(call, serve(resource, result.entry), 200);
  const { name, uid } = result.entry.object.metadata;
  return jsonAnswer(200, successStatus({ name, group: resource.group, kind: resource.plural, uid }));
}

/** The options of a DELETE, which may also be a dry run by its body. */
export function deleteOptionsOf(call: Call): DeleteOptions {
  const body = call.body.length > 0 ? decodeBody(call.body, call.contentType).object : {};
  return parseDeleteOptions(body, call.query);
}

/** Deletes or marks one object. */
export async function deleteObject(
  deps: ApiDeps,
  call: Call,
  namespace: string,
  name: string,
  options: DeleteOptions,
): Promise<ChangeResult> {
  const { resource, context } = call;
  refuseProtected(resource, name);
  const decide = (entry: Entry): Change => {
    if (!isServed(resource, entry)) throw notFound(resource, name);
    checkPreconditions(resource, entry.object, options);
    checkNodeRestriction(resource, undefined, entry.object, context);
    const object = entry.clone();
    return markDeleted(resource, object, options, context) ? { kind: 'delete' } : { kind: 'put', object };
  };
  const isDry = isDryRun(options.dryRun ?? []);
  return inWordsOf(call, name, async () =>
    isDry
      ? dryChange(deps, { ...call, path: { ...call.path, namespace, name } }, decide)
      : deps.store.guaranteedUpdate(collectionOf(resource), namespace, name, decide),
  );
}

function refuseProtected(resource: Resource, name: string): void {
  if (resource.group !== '' || resource.plural !== 'namespaces' || !PROTECTED_NAMESPACES.has(name)) return;
  throw new WindlassError('Forbidden', `namespaces "${name}" is forbidden: this namespace may not be deleted`, {
    details: { name, kind: 'namespaces' },
  });
}
