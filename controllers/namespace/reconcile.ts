// Empties a namespace that is being deleted, says what keeps it, and lets it go when nothing is left.
import type { ApiClient } from '../../client/client.ts';
import { namespaceKind, type Namespace } from '../../crds/builtin.ts';
import type { KindName } from '../../crds/kind.ts';
import type { Clock } from '../../lib/clock.ts';
import { isNotFound, messageOf } from '../../lib/errors.ts';
import type { Cache } from '../runtime/cache.ts';
import { discoverKinds, resourceName } from '../runtime/discovery.ts';
import { forEachLimit } from '../runtime/fan-out.ts';
import { isDeleting } from '../runtime/object-key.ts';
import type { Reconcile } from '../runtime/reconciler.ts';
import { writeStatus } from '../runtime/write.ts';
import { planNamespaceConditions, type Remainder } from './plan.ts';

/** The finalizer in spec.finalizers that stands for the content. */
const CONTENT_FINALIZER = 'kubernetes';
const PARALLEL_DELETES = 16;
const FIRST_LOOK_MS = 200;
const LAST_LOOK_MS = 5_000;

export interface NamespaceDeps {
  readonly client: ApiClient;
  readonly namespaces: Cache<Namespace>;
  readonly clock: Clock;
}

/** Works on one namespace until it is gone. */
export function createNamespaceReconciler({ client, namespaces, clock }: NamespaceDeps): Reconcile {
  const namespaceClient = client.kind<Namespace>(namespaceKind);
  return async (key, { signal, log }) => {
    const cached = namespaces.get(key);
    if (!cached || !isDeleting(cached)) return {};
    // Whether it is empty is decided once: what the cache may have missed, the server has to say.
    const namespace = await namespaceClient.get(key, undefined, signal);
    if (!namespace || !isDeleting(namespace)) return {};
    if (!namespace.spec?.finalizers?.includes(CONTENT_FINALIZER)) return {};

    const { kinds, failures: discoveryFailures } = await discoverKinds(client, signal);
    const deletionFailures: string[] = [];
    const remainders: Remainder[] = [];
    for (const kind of kinds.filter(({ namespaced }) => namespaced)) {
      try {
        remainders.push(await emptyKind(client, kind, key, signal));
      } catch (error) {
        signal.throwIfAborted();
        // The kind went away between discovery and the list: nothing of it is left.
        if (!isNotFound(error)) deletionFailures.push(`${resourceName(kind)}: ${messageOf(error)}`);
      }
    }
    const left = remainders.reduce((sum, { objects }) => sum + objects.length, 0);
    if (left === 0 && discoveryFailures.length === 0 && deletionFailures.length === 0) {
      const finalizers = namespace.spec.finalizers.filter((name) => name !== CONTENT_FINALIZER);
      await namespaceClient.finalize({ ...namespace, spec: { ...namespace.spec, finalizers } }, signal);
      log.info('namespace is empty, let it go');
      return {};
    }
    const now = clock.now();
    const conditions = planNamespaceConditions(namespace.status?.conditions, {
      remainders,
      discoveryFailures,
      deletionFailures,
      now,
    });
    await writeStatus(namespaceClient, namespace, { phase: 'Terminating', conditions }, signal);
    // Quick at first, when things go by themselves; then with the patience that a stuck finalizer needs.
    const ageMs = now - Date.parse(namespace.metadata.deletionTimestamp ?? '');
    return { requeueAfterMs: Math.min(LAST_LOOK_MS, Math.max(FIRST_LOOK_MS, ageMs / 4 || 0)) };
  };
}

/** Deletes all objects of a kind in the namespace; returns those that are still there afterwards. */
async function emptyKind(
  client: ApiClient,
  kind: KindName,
  namespace: string,
  signal: AbortSignal,
): Promise<Remainder> {
  const objects = client.kind(kind);
  const { items } = await objects.list({ namespace }, signal);
  const undeleted = items.filter((item) => !isDeleting(item));
  await forEachLimit(undeleted, PARALLEL_DELETES, async ({ metadata }) => {
    const precondition = metadata.uid === undefined ? {} : { uid: metadata.uid };
    await objects.delete(metadata.name, namespace, { ...precondition, propagationPolicy: 'Background' }, signal);
  });
  const after = undeleted.length > 0 ? (await objects.list({ namespace }, signal)).items : items;
  return {
    resource: resourceName(kind),
    objects: after.map(({ metadata }) => ({ name: metadata.name, finalizers: metadata.finalizers ?? [] })),
  };
}
