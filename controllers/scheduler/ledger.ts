// What is promised on each node, kept up to date change by change, so that placing one container costs a walk over the
// nodes and never a walk over the containers.
import type { Node } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import { parseQuantity } from '../../lib/quantity.ts';
import { controllerOf, isDeleting, keyOf } from '../runtime/object-key.ts';
import {
  addClaim,
  count,
  emptyNode,
  removeClaim,
  type Claim,
  type HostPort,
  type MutableNode,
  type NodeState,
} from './node-state.ts';

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
  /** Keeps a place on a node for a container for which others have to go; there is one such place per container. */
  nominate(container: Container, nodeName: string): void;
  /** Gives that place up. */
  withdraw(key: string): void;
  /** The node on which a place is kept for the container. */
  nomination(key: string): string | undefined;
  /** Notes that the container of the claim was asked to go, or that asking failed. */
  setLeaving(claim: Claim, isLeaving: boolean): void;
  /** Names of the nodes whose containers mount the volume. */
  nodesOfVolume(volumeKey: string): readonly string[];
}

/** An empty ledger. */
export function createLedger(): Ledger {
  const nodes = new Map<string, MutableNode>();
  const claims = new Map<string, Claim>();
  const volumes = new Map<string, Map<string, number>>();
  const nominations = new Map<string, string>();
  let known: readonly NodeState[] | undefined;

  function nodeOf(name: string): MutableNode {
    let state = nodes.get(name);
    if (!state) {
      state = emptyNode(name);
      nodes.set(name, state);
    }
    return state;
  }

  function put(claim: Claim): void {
    claims.set(claim.key, claim);
    addClaim(nodeOf(claim.nodeName), claim);
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
    removeClaim(nodeOf(claim.nodeName), claim);
    for (const volume of claim.volumes) {
      const holders = volumes.get(volume);
      if (holders) count(holders, claim.nodeName, -1);
      if (holders?.size === 0) volumes.delete(volume);
    }
    return true;
  }

  function withdraw(key: string): boolean {
    const nodeName = nominations.get(key);
    if (nodeName === undefined) return false;
    nominations.delete(key);
    nodeOf(nodeName).nominees.delete(key);
    return true;
  }

  return {
    setNode(node) {
      nodeOf(node.metadata.name).node = node;
      known = undefined;
    },
    removeNode(name) {
      const state = nodeOf(name);
      state.node = undefined;
      for (const key of state.nominees.keys()) withdraw(key);
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
      const isWithdrawn = (container.spec.nodeName !== undefined || isDeleting(container)) && withdraw(key);
      const freed = drop(key);
      // What was asked to go goes, whatever the informer shows of the time before.
      if (next) put(old?.uid === next.uid && old.isLeaving ? { ...next, isLeaving: true } : next);
      return isWithdrawn || (freed && (!next || !old || holdsLess(next, old)));
    },
    removeContainer(key, uid) {
      const isWithdrawn = withdraw(key);
      const isFreed = claims.get(key)?.uid === uid && drop(key);
      return isWithdrawn || isFreed;
    },
    assume(container, nodeName) {
      withdraw(keyOf(container));
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
    nominate(container, nodeName) {
      const key = keyOf(container);
      withdraw(key);
      nominations.set(key, nodeName);
      nodeOf(nodeName).nominees.set(key, claimOf(container, nodeName, true));
    },
    withdraw: (key) => void withdraw(key),
    nomination: (key) => nominations.get(key),
    setLeaving(claim, isLeaving) {
      const current = claims.get(claim.key);
      if (current?.uid !== claim.uid) return;
      drop(claim.key);
      put({ ...current, isLeaving });
    },
    nodesOfVolume: (volumeKey) => [...(volumes.get(volumeKey)?.keys() ?? [])],
  };
}

/** What runs, or will run again, holds; what is over does not. */
function isHolding(container: Container): boolean {
  const phase = container.status?.phase;
  return Boolean(container.spec.nodeName) && phase !== 'Succeeded' && phase !== 'Failed';
}

/** There is more room than before, also for those that may displace others. */
const holdsLess = (next: Claim, old: Claim): boolean =>
  next.ports.length < old.ports.length ||
  next.cpu < old.cpu ||
  next.memory < old.memory ||
  next.priority < old.priority;

/** What a container holds, or would hold, on a node. */
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
    priority: spec.priority,
    isLeaving: isDeleting(container),
    isAssumed,
  };
}

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
