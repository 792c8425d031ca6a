// What is promised on each node, kept up to date change by change, so that placing one container costs a walk over the
// nodes and never a walk over the containers.
import type { Node } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import { parseQuantity } from '../../lib/quantity.ts';
import { controllerOf, keyOf } from '../runtime/object-key.ts';

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
}

interface MutableNode {
  name: string;
  node: Node | undefined;
  claims: Map<string, Claim>;
  cpu: number;
  memory: number;
  owners: Map<string, number>;
  ports: Map<string, Claim[]>;
}

export interface Ledger {
  setNode(node: Node): void;
  removeNode(name: string): void;
  /** Takes over what the informer shows; returns true when this freed something. An older version is ignored. */
  setContainer(container: Container): boolean;
  removeContainer(key: string, uid: string | undefined): boolean;
  /** Claims a node for a container before the bind is written. */
  assume(container: Container, nodeName: string): void;
  /** Takes an assumption back after the bind failed. */
  unassume(key: string): void;
  claim(key: string): Claim | undefined;
  nodes(): readonly NodeState[];
  /** Names of the nodes whose containers mount the volume. */
  nodesOfVolume(volumeKey: string): readonly string[];
}

/** An empty ledger. */
export function createLedger(): Ledger {
  const nodes = new Map<string, MutableNode>();
  const claims = new Map<string, Claim>();
  const volumes = new Map<string, Map<string, number>>();
  let known: readonly NodeState[] | undefined;

  function nodeOf(name: string): MutableNode {
    let state = nodes.get(name);
    if (!state) {
      state = { name, node: undefined, claims: new Map(), cpu: 0, memory: 0, owners: new Map(), ports: new Map() };
      nodes.set(name, state);
    }
    return state;
  }

  function put(claim: Claim): void {
    const state = nodeOf(claim.nodeName);
    claims.set(claim.key, claim);
    state.claims.set(claim.key, claim);
    state.cpu += claim.cpu;
    state.memory += claim.memory;
    count(state.owners, claim.owner, 1);
    for (const port of claim.ports) {
      const id = portId(port);
      state.ports.set(id, [...(state.ports.get(id) ?? []), claim]);
    }
    for (const volume of claim.volumes) {
      const holders = volumes.get(volume) ?? new Map<string, number>();
      count(holders, claim.nodeName, 1);
      volumes.set(volume, holders);
    }
  }

  function drop(key: string): boolean {
    const claim = claims.get(key);
    if (!claim) return false;
    claims.delete(key);
    const state = nodeOf(claim.nodeName);
    state.claims.delete(key);
    state.cpu -= claim.cpu;
    state.memory -= claim.memory;
    count(state.owners, claim.owner, -1);
    for (const id of new Set(claim.ports.map(portId))) {
      const rest = (state.ports.get(id) ?? []).filter((holder) => holder.key !== key);
      if (rest.length > 0) state.ports.set(id, rest);
      else state.ports.delete(id);
    }
    for (const volume of claim.volumes) {
      const holders = volumes.get(volume);
      if (holders) count(holders, claim.nodeName, -1);
      if (holders?.size === 0) volumes.delete(volume);
    }
    return true;
  }

  return {
    setNode(node) {
      nodeOf(node.metadata.name).node = node;
      known = undefined;
    },
    removeNode(name) {
      nodeOf(name).node = undefined;
      known = undefined;
    },
    setContainer(container) {
      const key = keyOf(container);
      const old = claims.get(key);
      const version = BigInt(container.metadata.resourceVersion ?? '0');
      if (old && old.uid === container.metadata.uid) {
        if (version < old.resourceVersion) return false;
        if (old.isAssumed && !container.spec.nodeName) return false;
      }
      const next = isHolding(container) ? claimOf(container, container.spec.nodeName ?? '', false) : undefined;
      const freed = drop(key);
      if (next) put(next);
      return freed && (!next || next.ports.length < (old?.ports.length ?? 0) || next.memory < (old?.memory ?? 0));
    },
    removeContainer(key, uid) {
      return claims.get(key)?.uid === uid ? drop(key) : false;
    },
    assume(container, nodeName) {
      drop(keyOf(container));
      put(claimOf(container, nodeName, true));
    },
    unassume(key) {
      if (claims.get(key)?.isAssumed) drop(key);
    },
    claim: (key) => claims.get(key),
    nodes() {
      known ??= [...nodes.values()]
        .filter((state): state is MutableNode & { node: Node } => state.node !== undefined)
        .toSorted((a, b) => a.name.localeCompare(b.name));
      return known;
    },
    nodesOfVolume: (volumeKey) => [...(volumes.get(volumeKey)?.keys() ?? [])],
  };
}

function count(map: Map<string, number>, key: string, by: number): void {
  const next = (map.get(key) ?? 0) + by;
  if (next > 0) map.set(key, next);
  else map.delete(key);
}

/** What runs, or will run again, holds; what is over does not. */
function isHolding(container: Container): boolean {
  const phase = container.status?.phase;
  return Boolean(container.spec.nodeName) && phase !== 'Succeeded' && phase !== 'Failed';
}

function claimOf(container: Container, nodeName: string, isAssumed: boolean): Claim {
  const { metadata, spec } = container;
  const requests = spec.resources?.requests;
  return {
    key: keyOf(container),
    uid: metadata.uid ?? '',
    resourceVersion: BigInt(metadata.resourceVersion ?? '0'),
    nodeName,
    cpu: requests?.cpu === undefined ? 0 : parseQuantity(requests.cpu),
    memory: requests?.memory === undefined ? 0 : parseQuantity(requests.memory),
    ports: hostPortsOf(container),
    volumes: volumesOf(container),
    owner: controllerOf(container)?.uid ?? '',
    isAssumed,
  };
}

/** `protocol/port`, the key of NodeState.ports. */
export const portId = (port: HostPort): string => `${port.protocol}/${port.port}`;

/** The fixed host ports a container asks for; 0 means any free one and claims nothing. */
export function hostPortsOf(container: Container): HostPort[] {
  return (container.spec.ports ?? []).flatMap(({ hostPort, hostIP, protocol }) =>
    hostPort ? [{ protocol, port: hostPort, ip: isEveryAddress(hostIP) ? '' : (hostIP ?? '') }] : [],
  );
}

const isEveryAddress = (ip: string | undefined): boolean =>
  ip === undefined || ip === '' || ip === '0.0.0.0' || ip === '::';

/** `namespace/name` of the named volumes a container mounts. */
export function volumesOf(container: Container): string[] {
  return (container.spec.mounts ?? []).flatMap(({ volume }) =>
    volume === undefined ? [] : [`${container.metadata.namespace ?? ''}/${volume}`],
  );
}
