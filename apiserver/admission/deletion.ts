// Deleting: at once when nothing waits for the object, else by a mark that those who wait can see.
import { rfc3339 } from '../../lib/clock.ts';
import type { RequestContext, Resource, StoredObject } from '../resources/resource.ts';
import { badRequest, conflict } from '../routes/api-errors.ts';

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly dryRun?: readonly string[];
}

const POLICIES = new Set(['Background', 'Foreground', 'Orphan']);

/** DeleteOptions from a decoded body and the query; the query wins. */
export function parseDeleteOptions(body: Record<string, unknown>, query: URLSearchParams): DeleteOptions {
  const grace = query.get('gracePeriodSeconds') ?? body['gracePeriodSeconds'];
  const gracePeriodSeconds = grace === undefined || grace === null ? undefined : Number(grace);
  if (gracePeriodSeconds !== undefined && (!Number.isInteger(gracePeriodSeconds) || gracePeriodSeconds < 0)) {
    throw badRequest(`invalid gracePeriodSeconds: ${JSON.stringify(grace)}: must be a non-negative integer`);
  }
  let policy = query.get('propagationPolicy') ?? body['propagationPolicy'] ?? undefined;
  const orphan = query.get('orphanDependents') ?? body['orphanDependents'] ?? undefined;
  if (orphan !== undefined) {
    if (policy !== undefined) throw badRequest('orphanDependents and propagationPolicy cannot be both set');
    policy = orphan === true || orphan === 'true' ? 'Orphan' : 'Background';
  }
  if (policy !== undefined && !POLICIES.has(policy as string)) {
    throw badRequest(
      `invalid propagationPolicy ${JSON.stringify(policy)}: must be one of Background, Foreground, Orphan`,
    );
  }
  const preconditions = body['preconditions'] as DeleteOptions['preconditions'] | null | undefined;
  const fromBody = body['dryRun'] ?? [];
  // Whoever wrote "All" instead of ["All"] does not want anything deleted.
  if (!Array.isArray(fromBody)) throw badRequest('invalid dryRun: must be a list');
  if (body['preconditions'] && typeof body['preconditions'] !== 'object') {
    throw badRequest('invalid preconditions: must be an object');
  }
  return {
    ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
    ...(policy === undefined ? {} : { propagationPolicy: policy as 'Background' }),
    ...(preconditions ? { preconditions } : {}),
    dryRun: [...query.getAll('dryRun'), ...(fromBody as string[])],
  };
}

/** What still waits before the object may go: its finalizers and, for a namespace, those in its spec. */
export function deletionBlockers(resource: Resource, object: StoredObject): readonly string[] {
  const own = object.metadata.finalizers ?? [];
  if (resource.plural !== 'namespaces' || resource.group !== '') return own;
  const spec = object['spec'] as { finalizers?: string[] } | undefined;
  return [...own, ...(spec?.finalizers ?? [])];
}

/** Rejects with Conflict unless `object` is the one the client means. */
export function checkPreconditions(resource: Resource, object: StoredObject, options: DeleteOptions): void {
  const { uid, resourceVersion } = options.preconditions ?? {};
  const { metadata } = object;
  if (uid && uid !== metadata.uid) {
    const why = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${metadata.uid}`;
    throw conflict(resource, metadata.name, why);
  }
  if (resourceVersion && resourceVersion !== metadata.resourceVersion) {
    const why = `Precondition failed: ResourceVersion in precondition: ${resourceVersion}, ResourceVersion in object meta: ${metadata.resourceVersion}`;
    throw conflict(resource, metadata.name, why);
  }
}

/**
 * Marks `object` (a private copy) as being deleted. True when nothing waits for it, so that it can go now. Marking twice
 * changes nothing, except that a shorter grace period replaces a longer one.
 */
export function markDeleted(
  resource: Resource,
  object: StoredObject,
  options: DeleteOptions,
  context: RequestContext,
): boolean {
  const { metadata } = object;
  const finalizers = new Set(metadata.finalizers);
  if (options.propagationPolicy) {
    finalizers.delete('foregroundDeletion');
    finalizers.delete('orphan');
    if (options.propagationPolicy === 'Foreground') finalizers.add('foregroundDeletion');
    if (options.propagationPolicy === 'Orphan') finalizers.add('orphan');
  }
  if (finalizers.size > 0) metadata.finalizers = [...finalizers];
  else delete metadata.finalizers;
  if (deletionBlockers(resource, object).length === 0) return true;
  const grace = options.gracePeriodSeconds;
  if (!metadata.deletionTimestamp) {
    metadata.deletionTimestamp = rfc3339(context.now);
    metadata.deletionGracePeriodSeconds = grace ?? 0;
    if (grace === undefined) delete metadata.deletionGracePeriodSeconds;
    if (metadata.generation !== undefined) metadata.generation += 1;
    if (resource.group === '' && resource.plural === 'namespaces') {
      object['status'] = { ...(object['status'] as object | undefined), phase: 'Terminating' };
    }
  } else if (grace !== undefined && grace < (metadata.deletionGracePeriodSeconds ?? Infinity)) {
    metadata.deletionGracePeriodSeconds = grace;
  }
  return false;
}
