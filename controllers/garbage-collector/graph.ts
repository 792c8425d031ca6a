// Who owns whom, over all kinds, by UID.
import type { KindName, KubernetesObject, OwnerReference } from '../../crds/kind.ts';

export const FOREGROUND_FINALIZER = 'foregroundDeletion';
export const ORPHAN_FINALIZER = 'orphan';

export interface GraphNode {
  readonly kind: KindName;
  readonly uid: string;
  readonly name: string;
  readonly namespace: string | undefined;
  readonly resourceVersion: string;
  readonly owners: readonly OwnerReference[];
  readonly finalizers: readonly string[];
  readonly isDeleting: boolean;
}

export interface Graph {
  set(kind: KindName, object: KubernetesObject): GraphNode;
  remove(uid: string): GraphNode | undefined;
  get(uid: string): GraphNode | undefined;
  /** Objects that name `uid` as an owner. */
  dependentsOf(uid: string): readonly GraphNode[];
  /** UIDs of the objects of a kind, to find those that vanished unseen. */
  uidsOf(kind: KindName): readonly string[];
}

/** An empty graph. */
export function createGraph(): Graph {
  const nodes = new Map<string, GraphNode>();
  const dependents = new Map<string, Set<string>>();

  function unlink(node: GraphNode): void {
    for (const { uid } of node.owners) {
      const set = dependents.get(uid);
      set?.delete(node.uid);
      if (set?.size === 0) dependents.delete(uid);
    }
  }

  return {
    set(kind, object) {
      const { metadata } = object;
      const uid = metadata.uid ?? '';
      const old = nodes.get(uid);
      if (old) unlink(old);
      const node: GraphNode = {
        kind,
        uid,
        name: metadata.name,
        namespace: metadata.namespace,
        resourceVersion: metadata.resourceVersion ?? '',
        owners: metadata.ownerReferences ?? [],
        finalizers: metadata.finalizers ?? [],
        isDeleting: metadata.deletionTimestamp !== undefined,
      };
      nodes.set(uid, node);
      for (const owner of node.owners) {
        const set = dependents.get(owner.uid) ?? new Set<string>();
        set.add(uid);
        dependents.set(owner.uid, set);
      }
      return node;
    },
    remove(uid) {
      const node = nodes.get(uid);
      if (node) unlink(node);
      nodes.delete(uid);
      return node;
    },
    get: (uid) => nodes.get(uid),
    dependentsOf: (uid) => [...(dependents.get(uid) ?? [])].flatMap((id) => nodes.get(id) ?? []),
    uidsOf: (kind) =>
      [...nodes.values()]
        .filter((node) => node.kind.group === kind.group && node.kind.plural === kind.plural)
        .map(({ uid }) => uid),
  };
}
