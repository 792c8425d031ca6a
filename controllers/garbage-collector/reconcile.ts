// One step for one object of any kind: deleted when its owners are gone, let go when its dependents are.
import type { ApiClient } from '../../client/client.ts';
import { apiVersionOf, type KindName, type KubernetesObject, type OwnerReference } from '../../crds/kind.ts';
import { forEachLimit } from '../runtime/fan-out.ts';
import type { Reconcile } from '../runtime/reconciler.ts';
import { FOREGROUND_FINALIZER, type Graph, type GraphNode } from './graph.ts';
import { planGarbage, type OwnerState } from './plan.ts';

const PARALLEL_WRITES = 16;

export interface GarbageDeps {
  readonly client: ApiClient;
  readonly graph: Graph;
  /** The kind an owner reference names; undefined when the server has no such kind. */
  readonly resolve: (apiVersion: string, kind: string) => KindName | undefined;
  readonly enqueue: (uid: string) => void;
}

/** Keys are UIDs. */
export function createGarbageReconciler(deps: GarbageDeps): Reconcile {
  const { client, graph } = deps;

  async function ownerState(node: GraphNode, owner: OwnerReference, signal: AbortSignal): Promise<OwnerState> {
    const known = graph.get(owner.uid);
    if (known) {
      // An owner in another namespace is no owner: names there are somebody else's.
      if (known.namespace !== undefined && known.namespace !== node.namespace) return 'absent';
      return known.isDeleting && known.finalizers.includes(FOREGROUND_FINALIZER) ? 'waiting' : 'present';
    }
    const kind = deps.resolve(owner.apiVersion, owner.kind);
    // Of a kind nobody knows nothing can be said, and what may be there is not deleted from under.
    if (!kind || (kind.namespaced && node.namespace === undefined)) return 'present';
    const live = await client.kind(kind).get(owner.name, kind.namespaced ? node.namespace : undefined, signal);
    return live?.metadata.uid === owner.uid ? 'present' : 'absent';
  }

  /** The object as the server has it, if it is still the same one. */
  async function read(node: GraphNode, signal: AbortSignal): Promise<KubernetesObject | undefined> {
    const live = await client.kind(node.kind).get(node.name, node.namespace, signal);
    return live?.metadata.uid === node.uid ? live : undefined;
  }

  async function patchMetadata(
    live: KubernetesObject,
    kind: KindName,
    change: object,
    signal: AbortSignal,
  ): Promise<void> {
    const { name, namespace, resourceVersion } = live.metadata;
    await client.kind(kind).mergePatch(name, namespace, { metadata: { resourceVersion, ...change } }, {}, signal);
  }

  async function unlink(node: GraphNode, ownerUids: readonly string[], signal: AbortSignal): Promise<void> {
    const live = await read(node, signal);
    const ownerReferences = (live?.metadata.ownerReferences ?? []).filter(({ uid }) => !ownerUids.includes(uid));
    if (!live || ownerReferences.length === live.metadata.ownerReferences?.length) return;
    await patchMetadata(live, node.kind, { ownerReferences }, signal);
  }

  return async (uid, { signal, log }) => {
    const node = graph.get(uid);
    if (!node) return {};
    const states = new Map<string, OwnerState>();
    for (const owner of node.isDeleting ? [] : node.owners)
      states.set(owner.uid, await ownerState(node, owner, signal));
    const plan = planGarbage(node, graph.dependentsOf(uid), (owner) => states.get(owner.uid) ?? 'present');
    const about = {
      object: `${apiVersionOf(node.kind)}/${node.kind.kind}`,
      name: node.name,
      namespace: node.namespace,
    };
    switch (plan.kind) {
      case 'keep':
        return {};
      case 'unlink':
        await unlink(node, plan.ownerUids, signal);
        return {};
      case 'delete':
        await client
          .kind(node.kind)
          .delete(node.name, node.namespace, { uid, propagationPolicy: plan.propagation }, signal);
        log.info({ ...about, propagation: plan.propagation }, 'deleted an object whose owners are gone');
        return {};
      case 'finalize': {
        const live = await read(node, signal);
        const finalizers = live?.metadata.finalizers?.filter((name) => name !== plan.finalizer);
        if (live && finalizers) await patchMetadata(live, node.kind, { finalizers }, signal);
        return {};
      }
      case 'await-dependents':
        for (const child of plan.dependents) if (!child.isDeleting) deps.enqueue(child.uid);
        return {};
      case 'orphan-dependents':
        await forEachLimit(plan.dependents, PARALLEL_WRITES, (child) => unlink(child, [uid], signal));
        return { requeueAfterMs: 100 };
    }
  };
}
