// What a Network's status should say, and who holds it when it is to be deleted.
import type { Container } from '../../crds/container.ts';
import { isIngress, type Network, type NetworkStatus } from '../../crds/network.ts';
import type { Ipv6Range } from '../../lib/ipv6.ts';
import { setConditions, type NewCondition } from '../runtime/conditions.ts';
import { assignBlocks, nodeBlocks } from './blocks.ts';
import { DEFAULT_VXLAN_PORT, findClash, nodeAddress, nodeMac, planVni, VNIS, type VniRange } from './overlay.ts';
import {
  DEFAULT_WIREGUARD_PORT,
  encryptedCondition,
  encryptionTrouble,
  refuseSharedKeys,
  tunnelAddress,
  type NodeEncryption,
} from './encryption.ts';
import type { Ipv4Range } from './ipv4.ts';
import { clusterPrefix, isIpv6Subnet, planIpv6Subnet } from './ipv6-subnet.ts';
import type { TakenRange } from './subnet-plan.ts';
import { planSubnets } from './subnets.ts';
import type { Underlays } from './underlay.ts';

export const DEFAULT_NETWORK = 'default';

/** Names of the networks a Container is on. */
export function networksOf({ spec }: Pick<Container, 'spec'>): string[] {
  if (spec.hostNetwork || spec.shareNamespaces?.network !== undefined) return [];
  return spec.networks === undefined ? [DEFAULT_NETWORK] : spec.networks.map(({ name }) => name);
}

export interface NetworkObserved {
  readonly network: Network;
  /** Containers that name the network, bound or not. */
  readonly containers: readonly Container[];
  readonly taken: readonly TakenRange<Ipv4Range>[];
  /** Nodes on which an image is built whose RUN instructions are on the network. */
  readonly builders?: ReadonlySet<string>;
  readonly takenIpv6?: readonly TakenRange<Ipv6Range>[];
  /** What tells this cluster from others. */
  readonly clusterId?: string;
  /** Where in the address pool this cluster starts. */
  readonly poolStart?: number;
  /** Names of all nodes of the cluster. */
  readonly nodeNames: readonly string[];
  readonly underlays?: Underlays;
  /** VNIs of the other networks. */
  readonly takenVnis?: ReadonlySet<number>;
  readonly vnis?: VniRange;
  readonly vxlanPort?: number;
  readonly wireguardPort?: number;
  /** What all nodes say about encryption. */
  readonly encryption?: readonly NodeEncryption[];
  readonly now: number;
}

/** On clusters up to this size every node gets a block before it asks, so that no start waits for one. */
const EAGER_NODES = 4;
/** Blocks of a node that is alone: half of them, the rest is for nodes that may join. */
const BLOCKS_ALONE = 8;
/** Addresses in a block of an overlay, and in one of the overlay that all nodes have mostly for their own address. */
const OVERLAY_BLOCK = 32;
const INGRESS_BLOCK = 4;

/** The whole status, as the network controller wants it; fields of nodes that agents report are kept. */
export function planNetworkStatus(observed: NetworkObserved): NetworkStatus {
  const { network, containers, nodeNames, now } = observed;
  const generation = network.metadata.generation;
  const { encrypted } = network.spec;
  const ends = encrypted ? refuseSharedKeys(observed.encryption ?? [], network.status?.nodes) : [];
  const withReady = (rest: Partial<NetworkStatus>, ready: Omit<NewCondition, 'type'>): NetworkStatus => ({
    ...network.status,
    ...rest,
    observedGeneration: generation,
    conditions: setConditions(
      network.status?.conditions,
      [{ type: 'Ready', ...ready }, ...(encrypted && ends.length > 0 ? [encryptedCondition(ends)] : [])],
      { now, generation },
    ),
  });

  if (encrypted && isIngress(network)) {
    const message = 'spec.encrypted is not supported for the network of published ports';
    return withReady({}, { status: 'False', reason: 'NotSupported', message });
  }
  const isOverlay = network.spec.driver === 'overlay';
  const ipv4Wishes = network.spec.subnets?.filter((subnet) => !isIpv6Subnet(subnet)) ?? [];
  if (isOverlay && ipv4Wishes.length > 1) {
    const message = 'spec.subnets: an overlay has one subnet of a family: give a larger one instead of several';
    return withReady({}, { status: 'False', reason: 'InvalidSubnet', message });
  }
  if (nodeNames.length === 0 && !network.status?.subnets) {
    // Which ranges are free on a node is known only when there is one.
    return withReady({}, { status: 'False', reason: 'NoNode', message: 'no node has joined the cluster yet' });
  }
  const plan = planSubnets(network, observed.taken, { start: observed.poolStart ?? 0 });
  if (plan.kind === 'refused') return withReady({}, { status: 'False', reason: plan.reason, message: plan.message });
  const ipv6 = planIpv6Subnet(network, {
    ipv4: plan.subnets,
    taken: observed.takenIpv6 ?? [],
    prefix: clusterPrefix(observed.clusterId ?? ''),
  });
  if (ipv6.kind === 'refused') return withReady({}, { status: 'False', reason: ipv6.reason, message: ipv6.message });
  // Those of IPv4 first: blocks are taken of the first subnet.
  const subnets = [...plan.subnets, ...ipv6.subnets];

  const { takenVnis = new Set(), vnis = VNIS, vxlanPort = DEFAULT_VXLAN_PORT, underlays } = observed;
  const vni = isOverlay ? planVni(network.status?.vni, takenVnis, observed.poolStart ?? 0, vnis) : undefined;
  if (isOverlay && vni === undefined) {
    const message = `no VNI is left from ${vnis.first} to ${vnis.last}: delete overlays that nobody uses`;
    return withReady({ subnets }, { status: 'False', reason: 'VNIsExhausted', message });
  }

  const users = countByNode(containers);
  const isGone = (name: string): boolean => !nodeNames.includes(name) && !users.has(name);
  const eager = nodeNames.length <= EAGER_NODES || isIngress(network) ? nodeNames : [];
  const wanting = [...new Set([...users.keys(), ...eager, ...(observed.builders ?? [])])].toSorted();
  const { ranges, short } = assignBlocks(
    plan.subnets,
    network.status?.nodes ?? [],
    wanting.map((nodeName) => ({ nodeName, containers: users.get(nodeName) ?? 0 })),
    { isGone, ...blockRules(network, plan.subnets, nodeNames.length) },
  );
  const nodes = [...ranges]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([name, blocks]) => ({
      ...network.status?.nodes?.find((node) => node.name === name),
      name,
      ranges: blocks,
    }))
    .map((node) => (isOverlay ? describeOverlayNode(node, plan.subnets, underlays?.addresses.get(node.name)) : node))
    .map((node) => (encrypted ? describeTunnelEnd(node, ends, observed.clusterId ?? '') : node));
  const endpoints = endpointsOf(network, containers);
  const { wireguardPort = DEFAULT_WIREGUARD_PORT } = observed;
  const trouble =
    (isOverlay ? overlayTrouble(underlays, findClash(endpoints, nodes)) : undefined) ??
    (encrypted ? encryptionTrouble(ends, users) : undefined);
  return withReady(
    { subnets, nodes, endpoints, ...(isOverlay ? { vni, vxlanPort } : {}), ...(encrypted ? { wireguardPort } : {}) },
    readiness(nodes, users, short, trouble),
  );
}

type NodeEntry = NonNullable<NetworkStatus['nodes']>[number];
type Subnets = NonNullable<NetworkStatus['subnets']>;

interface Trouble {
  readonly reason: string;
  readonly message: string;
}

function overlayTrouble(underlays: Underlays | undefined, clash: string | undefined): Trouble | undefined {
  if (underlays?.problem !== undefined) return { reason: 'NodesUnreachable', message: underlays.problem };
  return clash === undefined ? undefined : { reason: 'AddressConflict', message: clash };
}

function blockRules(
  network: Network,
  subnets: Subnets,
  nodeCount: number,
): { readonly minimumBlocks: number; readonly largestBlock?: number } {
  if (network.spec.driver !== 'overlay') return { minimumBlocks: nodeCount === 1 ? BLOCKS_ALONE : 1 };
  if (isIngress(network)) return { minimumBlocks: 1, largestBlock: INGRESS_BLOCK };
  // As many addresses as a node of a bridge network has at first, but never so many that later nodes get none.
  const count = subnets.flatMap((subnet) => nodeBlocks(subnet, OVERLAY_BLOCK)).length;
  const share = Math.floor(count / (4 * Math.max(nodeCount, 1)));
  return { minimumBlocks: Math.min(Math.max(share, 1), BLOCKS_ALONE), largestBlock: OVERLAY_BLOCK };
}

function describeOverlayNode(node: NodeEntry, [subnet]: Subnets, underlayIP: string | undefined): NodeEntry {
  const { underlayIP: _, ipv4Address: before, macAddress: __, ...rest } = node;
  const ipv4Address = subnet && nodeAddress(subnet, node.ranges ?? [], before);
  return {
    ...rest,
    ...(underlayIP === undefined ? {} : { underlayIP }),
    ...(ipv4Address === undefined ? {} : { ipv4Address, macAddress: nodeMac(ipv4Address) }),
  };
}

/** A node without a key is not told where the others are, nor they where it is: there is nothing it could send them. */
function describeTunnelEnd(node: NodeEntry, ends: readonly NodeEncryption[], clusterId: string): NodeEntry {
  const { encryptionKey: _, tunnelIP: __, underlayIP, ...rest } = node;
  const end = ends.find(({ name }) => name === node.name);
  if (end?.publicKey === undefined || underlayIP === undefined) return rest;
  return { ...rest, underlayIP, encryptionKey: end.publicKey, tunnelIP: tunnelAddress(clusterId, end.uid) };
}

function countByNode(containers: readonly Container[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { spec } of containers) {
    if (spec.nodeName) counts.set(spec.nodeName, (counts.get(spec.nodeName) ?? 0) + 1);
  }
  return counts;
}

function endpointsOf(network: Network, containers: readonly Container[]): NonNullable<NetworkStatus['endpoints']> {
  return containers
    .flatMap(({ metadata, status }) => {
      const attached = status?.networks?.find(({ name }) => name === network.metadata.name);
      if (!attached?.ipv4Address || isSilentPhase(status?.phase)) return [];
      return [
        {
          container: metadata.name,
          ipv4Address: attached.ipv4Address,
          ...(attached.ipv6Address === undefined ? {} : { ipv6Address: attached.ipv6Address }),
          ...(attached.macAddress === undefined ? {} : { macAddress: attached.macAddress }),
          ...(status?.nodeName === undefined ? {} : { nodeName: status.nodeName }),
        },
      ];
    })
    .toSorted((a, b) => a.container.localeCompare(b.container));
}

// A Container on a dead node is Unknown: its address may not answer, so nobody is sent there.
const isSilentPhase = (phase: string | undefined): boolean =>
  phase === 'Unknown' || phase === 'Succeeded' || phase === 'Failed';

function readiness(
  nodes: readonly {
    name: string;
    bridge?: string | undefined;
    ready?: boolean | undefined;
    message?: string | undefined;
  }[],
  users: ReadonlyMap<string, number>,
  short: readonly string[],
  trouble: Trouble | undefined,
): Omit<NewCondition, 'type'> {
  if (short.length > 0) {
    return {
      status: 'False',
      reason: 'AddressesExhausted',
      message: `no addresses are left for node ${short.join(', ')}: use a larger subnet`,
    };
  }
  if (trouble) return { status: 'False', ...trouble };
  const failed = nodes.filter(({ name, ready }) => users.has(name) && ready === false);
  if (failed.length > 0) {
    const why = failed.map(({ name, message }) => `${name}${message ? ` (${message})` : ''}`).join(', ');
    return { status: 'False', reason: 'NodeFailed', message: `not usable on node ${why}` };
  }
  const waiting = nodes.filter(({ name, bridge }) => users.has(name) && !bridge).map(({ name }) => name);
  if (waiting.length > 0) {
    return { status: 'False', reason: 'SettingUp', message: `waiting for node ${waiting.join(', ')} to set it up` };
  }
  return users.size === 0
    ? { status: 'True', reason: 'Allocated', message: 'no container uses it yet' }
    : { status: 'True', reason: 'Usable', message: `usable on ${users.size} node(s)` };
}
