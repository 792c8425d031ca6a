// What becomes of an object whose owners may be gone, and of an owner that waits for its dependents.
import type { OwnerReference } from '../../crds/kind.ts';
import { FOREGROUND_FINALIZER, ORPHAN_FINALIZER, type GraphNode } from './graph.ts';

export type OwnerState = 'present' | 'absent' | 'waiting';

export type GarbagePlan =
  | { readonly kind: 'keep' }
  /** Take these owners off: they are gone, but another one still stands. */
  | { readonly kind: 'unlink'; readonly ownerUids: readonly string[] }
  | { readonly kind: 'delete'; readonly propagation: 'Foreground' | 'Background' | 'Orphan' }
  /** All dependents that block are gone: let the object go. */
  | { readonly kind: 'finalize'; readonly finalizer: string }
  /** Dependents to look at again (foreground), or to set free (orphan). */
  | { readonly kind: 'await-dependents'; readonly dependents: readonly GraphNode[] }
  | { readonly kind: 'orphan-dependents'; readonly dependents: readonly GraphNode[] };

/** One step for one object. `stateOf` has been asked of the server where the graph did not know. */
export function planGarbage(
  node: GraphNode,
  dependents: readonly GraphNode[],
  stateOf: (owner: OwnerReference) => OwnerState,
): GarbagePlan {
  if (node.isDeleting) return planDeleting(node, dependents);
  if (node.owners.length === 0) return { kind: 'keep' };
  const states = node.owners.map((owner) => ({ owner, state: stateOf(owner) }));
  const gone = states.filter(({ state }) => state !== 'present').map(({ owner }) => owner.uid);
  if (gone.length === 0) return { kind: 'keep' };
  if (gone.length < states.length) return { kind: 'unlink', ownerUids: gone };
  if (node.finalizers.includes(ORPHAN_FINALIZER)) return { kind: 'delete', propagation: 'Orphan' };
  const isForeground =
    node.finalizers.includes(FOREGROUND_FINALIZER) ||
    (states.some(({ state }) => state === 'waiting') && dependents.some((child) => blocks(child, node)));
  return { kind: 'delete', propagation: isForeground ? 'Foreground' : 'Background' };
}

function planDeleting(node: GraphNode, dependents: readonly GraphNode[]): GarbagePlan {
  if (node.finalizers.includes(ORPHAN_FINALIZER)) {
    return dependents.length > 0
      ? { kind: 'orphan-dependents', dependents }
      : { kind: 'finalize', finalizer: ORPHAN_FINALIZER };
  }
  if (!node.finalizers.includes(FOREGROUND_FINALIZER)) return { kind: 'keep' };
  const blocking = dependents.filter((child) => blocks(child, node));
  return blocking.length > 0
    ? { kind: 'await-dependents', dependents }
    : { kind: 'finalize', finalizer: FOREGROUND_FINALIZER };
}

const blocks = (child: GraphNode, owner: GraphNode): boolean =>
  child.owners.some(({ uid, blockOwnerDeletion }) => uid === owner.uid && blockOwnerDeletion === true);
