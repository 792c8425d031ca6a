// What is promised on one node. Claims go in and out one by one, so that the sums never need a walk over the claims.
import type { Node } from '../../crds/builtin.ts';

/** What one bound container holds on its node. */
export interface Claim {
  /** `namespace/name` of the container. */
  readonly key: string;
  readonly uid: string;
  readonly resourceVersion: bigint;
  readonly nodeName: string;
  readonly cpu: number;
  readonly memory: number;
  readonly ports: readonly HostPort[];
  /** `namespace/name` of the named volumes it mounts. */
  readonly volumes: readonly string[];
  /** UID of the object that controls it, '' for none. */
  readonly owner: string;
  readonly priority: number;
  /** It is being deleted: what it holds will be free. */
  readonly isLeaving: boolean;
  /** Placed here, but the informer has not shown it yet. */
  readonly isAssumed: boolean;
}

export interface HostPort {
  readonly protocol: string;
  readonly port: number;
  /** '' = every address. */
  readonly ip: string;
}

export interface NodeState {
  readonly name: string;
  readonly node: Node;
  readonly claims: ReadonlyMap<string, Claim>;
  readonly cpu: number;
  readonly memory: number;
  /** Containers per owner UID. */
  readonly owners: ReadonlyMap<string, number>;
  /** `protocol/port` -> the claims on it. */
  readonly ports: ReadonlyMap<string, readonly Claim[]>;
  /** Containers per priority. */
  readonly priorities: ReadonlyMap<number, number>;
  /** Those for which others were displaced here: what they will hold is kept from all that are not more important. */
  readonly nominees: ReadonlyMap<string, Claim>;
}

export interface MutableNode {
  name: string;
  node: Node | undefined;
  claims: Map<string, Claim>;
  cpu: number;
  memory: number;
  owners: Map<string, number>;
  ports: Map<string, Claim[]>;
  priorities: Map<number, number>;
  nominees: Map<string, Claim>;
}

/** A node on which nothing is promised. */
export const emptyNode = (name: string): MutableNode => ({
  name,
  node: undefined,
  claims: new Map(),
  cpu: 0,
  memory: 0,
  owners: new Map(),
  ports: new Map(),
  priorities: new Map(),
  nominees: new Map(),
});

/** A copy to try things on. */
export const copyNode = (state: NodeState): MutableNode & { node: Node } => ({
  name: state.name,
  node: state.node,
  claims: new Map(state.claims),
  cpu: state.cpu,
  memory: state.memory,
  owners: new Map(state.owners),
  ports: new Map([...state.ports].map(([id, holders]) => [id, [...holders]])),
  priorities: new Map(state.priorities),
  nominees: new Map(state.nominees),
});

export function addClaim(state: MutableNode, claim: Claim): void {
  state.claims.set(claim.key, claim);
  state.cpu += claim.cpu;
  state.memory += claim.memory;
  count(state.owners, claim.owner, 1);
  count(state.priorities, claim.priority, 1);
  for (const port of claim.ports) {
    const id = portId(port);
    state.ports.set(id, [...(state.ports.get(id) ?? []), claim]);
  }
}

export function removeClaim(state: MutableNode, claim: Claim): void {
  state.claims.delete(claim.key);
  state.cpu -= claim.cpu;
  state.memory -= claim.memory;
  count(state.owners, claim.owner, -1);
  count(state.priorities, claim.priority, -1);
  for (const id of new Set(claim.ports.map(portId))) {
    const rest = (state.ports.get(id) ?? []).filter((holder) => holder.key !== claim.key);
    if (rest.length > 0) state.ports.set(id, rest);
    else state.ports.delete(id);
  }
}

/** The nominees of a node that come before a container: those not less important than it, itself left out. */
export function nomineesBefore(state: NodeState, key: string, priority: number): readonly Claim[] {
  if (state.nominees.size === 0) return [];
  return [...state.nominees.values()].filter((claim) => claim.key !== key && claim.priority >= priority);
}

/** Adds to a count; one that comes to nothing leaves the map. */
export function count<K>(map: Map<K, number>, key: K, by: number): void {
  const next = (map.get(key) ?? 0) + by;
  if (next > 0) map.set(key, next);
  else map.delete(key);
}

/** `protocol/port`, the key of NodeState.ports. */
export const portId = (port: HostPort): string => `${port.protocol}/${port.port}`;
