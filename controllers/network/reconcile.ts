// Gives each Network its addresses, divides them over the nodes, lists its endpoints, and makes a `default` where a
// namespace has none.
import { isIP, isIPv6 } from 'node:net';
import type { KindClient } from '../../client/client.ts';
import type { Namespace, Node } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import { PULL_NODE_ANNOTATION, type Image } from '../../crds/image.ts';
import { INGRESS_NETWORK, NetworkSpec, type Network, type NetworkSpecInput } from '../../crds/network.ts';
import type { Clock } from '../../lib/clock.ts';
import { isAlreadyExists } from '../../lib/errors.ts';
import { parseIpv6Cidr, type Ipv6Range } from '../../lib/ipv6.ts';
import type { Cache, Index } from '../runtime/cache.ts';
import { findCondition, setConditions } from '../runtime/conditions.ts';
import type { Events } from '../runtime/events.ts';
import { HOST_ROUTES_ANNOTATION, IN_USE_FINALIZER, isDeleting, splitKey } from '../runtime/object-key.ts';
import type { Reconcile } from '../runtime/reconciler.ts';
import { ensureFinalizer, removeFinalizer, writeStatus } from '../runtime/write.ts';
import { listNames } from '../volume/plan.ts';
import { readEncryption } from './encryption.ts';
import { parseCidr, type Ipv4Range } from './ipv4.ts';
import { isIpv6Subnet } from './ipv6-subnet.ts';
import { planUnderlays, type NodeAddresses } from './underlay.ts';
import { DEFAULT_NETWORK, planNetworkStatus } from './plan.ts';
import type { TakenRange } from './subnet-plan.ts';

export interface NetworkDeps {
  readonly client: KindClient<Network>;
  readonly networks: Cache<Network>;
  readonly namespaces: Cache<Namespace>;
  readonly nodes: Cache<Node>;
  /** Containers by `namespace/network`. */
  readonly containersOn: Index<Container>;
  /** Images by the `namespace/network` that they are built on. */
  readonly imagesOn: Index<Image>;
  readonly events: Events;
  readonly clock: Clock;
  /** UDP port of the overlays. */
  readonly vxlanPort: number;
  /** UDP port of the tunnels of encrypted ones. */
  readonly wireguardPort: number;
}

/** Must run with one worker: what one reconciliation allocates, the next one has to see. */
export function createNetworkReconciler(deps: NetworkDeps): Reconcile {
  const { client, clock, events } = deps;
  // Allocated and written, but perhaps not yet in the cache: by UID.
  const allocated = new Map<string, Ranges>();
  const allocatedVnis = new Map<string, number>();

  function takenBesides(network: Network): Ranges {
    const all: Ranges[] = [];
    const live = new Set<string>();
    for (const other of deps.networks.list()) {
      const uid = other.metadata.uid ?? '';
      live.add(uid);
      if (uid === network.metadata.uid) continue;
      // What was written last may not be in the cache yet.
      all.push(rangesOf(other), allocated.get(uid) ?? NO_RANGES);
    }
    for (const uid of allocated.keys()) {
      if (live.has(uid)) continue;
      allocated.delete(uid);
      allocatedVnis.delete(uid);
    }
    for (const node of deps.nodes.list()) all.push(hostRanges(node));
    return { ipv4: all.flatMap(({ ipv4 }) => ipv4), ipv6: all.flatMap(({ ipv6 }) => ipv6) };
  }

  function vnisBesides(network: Network): Set<number> {
    const taken = new Set<number>();
    for (const { metadata, status } of deps.networks.list()) {
      if (metadata.uid === network.metadata.uid) continue;
      for (const vni of [status?.vni, allocatedVnis.get(metadata.uid ?? '')]) if (vni !== undefined) taken.add(vni);
    }
    return taken;
  }

  async function releaseOrWait(network: Network, users: readonly Container[], signal: AbortSignal): Promise<void> {
    if (users.length === 0) {
      await removeFinalizer(client, network, IN_USE_FINALIZER, signal);
      return;
    }
    const names = users.map(({ metadata }) => metadata.name).toSorted();
    const message = `will be deleted when ${listNames(names)} is no longer on it`;
    const { generation } = network.metadata;
    const status = {
      observedGeneration: generation,
      conditions: setConditions(
        network.status?.conditions,
        [{ type: 'Ready', status: 'False', reason: 'DeletionBlocked', message }],
        { now: clock.now(), generation },
      ),
    };
    if (await writeStatus(client, network, status, signal)) {
      events.record(network, { type: 'Warning', reason: 'DeletionBlocked', message });
    }
  }

  /** What a Network of that name is where nobody has made one; undefined for a name that stands for nothing. */
  function builtIn(namespace: string, name: string): NetworkSpecInput | undefined {
    if (name === DEFAULT_NETWORK) return {};
    const isIngressKey = namespace === INGRESS_NETWORK.namespace && name === INGRESS_NETWORK.name;
    return isIngressKey && deps.nodes.list().length > 1 ? { driver: 'overlay' } : undefined;
  }

  async function createBuiltIn(key: string, signal: AbortSignal): Promise<void> {
    const { namespace = '', name } = splitKey(key);
    const home = deps.namespaces.get(namespace);
    const spec = builtIn(namespace, name);
    if (!spec || !home || isDeleting(home) || home.status?.phase === 'Terminating') return;
    try {
      await client.create(
        { metadata: { name, namespace, finalizers: [IN_USE_FINALIZER] }, spec: NetworkSpec.parse(spec) },
        signal,
      );
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  }

  return async (key, { signal }) => {
    const cached = deps.networks.get(key);
    if (!cached) {
      await createBuiltIn(key, signal);
      return {};
    }
    const containers = deps.containersOn.get(key);
    if (isDeleting(cached)) {
      await releaseOrWait(cached, containers, signal);
      return {};
    }
    const network = await ensureFinalizer(client, cached, IN_USE_FINALIZER, signal);
    const before = findCondition(network, 'Ready');
    const taken = takenBesides(network);
    const clusterId = deps.namespaces.get('kube-system')?.metadata.uid ?? '';
    const status = planNetworkStatus({
      network,
      containers,
      builders: buildersOf(deps.imagesOn.get(key), deps.nodes.list()),
      ...{ taken: taken.ipv4, takenIpv6: taken.ipv6, clusterId, poolStart: poolStart(clusterId) },
      nodeNames: deps.nodes.list().map(({ metadata }) => metadata.name),
      underlays: planUnderlays(deps.nodes.list().map(addressesOf)),
      takenVnis: vnisBesides(network),
      vxlanPort: deps.vxlanPort,
      wireguardPort: deps.wireguardPort,
      encryption: cached.spec.encrypted ? deps.nodes.list().map(readEncryption) : [],
      now: clock.now(),
    });
    await writeStatus(client, network, status, signal);
    if (status.vni !== undefined) allocatedVnis.set(network.metadata.uid ?? '', status.vni);
    if (status.subnets) allocated.set(network.metadata.uid ?? '', rangesOf({ ...network, status }));
    const after = status.conditions?.find(({ type }) => type === 'Ready');
    if (after && after.reason !== before?.reason && !isTransient(after.reason)) {
      events.record(network, {
        type: after.status === 'True' ? 'Normal' : 'Warning',
        reason: after.reason,
        message:
          after.reason === 'Allocated' ? `has ${status.subnets?.map(({ cidr }) => cidr).join(', ')}` : after.message,
      });
    }
    return {};
  };
}

function buildersOf(images: readonly Image[], nodes: readonly Node[]): ReadonlySet<string> {
  const names = new Set(images.map(({ metadata }) => metadata.annotations?.[PULL_NODE_ANNOTATION]));
  return new Set(nodes.map(({ metadata }) => metadata.name).filter((name) => names.has(name)));
}

/** The UID of kube-system is the cluster's identity: its first digits are as good as a draw. */
function poolStart(clusterId: string): number {
  const digits = /^[0-9a-f]{8}/.exec(clusterId)?.[0];
  return digits === undefined ? 0 : Number.parseInt(digits, 16);
}

const isTransient = (reason: string): boolean => ['NoNode', 'SettingUp', 'Usable'].includes(reason);

/** Ranges that are taken, by family. */
interface Ranges {
  readonly ipv4: readonly TakenRange<Ipv4Range>[];
  readonly ipv6: readonly TakenRange<Ipv6Range>[];
}

const NO_RANGES: Ranges = { ipv4: [], ipv6: [] };

function rangesOf({ metadata, status }: Network): Ranges {
  const holder = `Network ${metadata.namespace ?? ''}/${metadata.name}`;
  const subnets = status?.subnets ?? [];
  return {
    ipv4: subnets.filter((subnet) => !isIpv6Subnet(subnet)).map(({ cidr }) => ({ range: parseCidr(cidr), holder })),
    ipv6: subnets.filter(isIpv6Subnet).map(({ cidr }) => ({ range: parseIpv6Cidr(cidr), holder })),
  };
}

const addressesOf = ({ metadata, status }: Node): NodeAddresses => ({
  name: metadata.name,
  addresses: (status?.addresses ?? [])
    .filter(({ type, address }) => type === 'InternalIP' && isIP(address) !== 0)
    .map(({ address }) => address),
});

function hostRanges(node: Node): Ranges {
  const holder = `the routes of node ${node.metadata.name}`;
  const routes = (node.metadata.annotations?.[HOST_ROUTES_ANNOTATION] ?? '').split(',');
  const addresses = (node.status?.addresses ?? [])
    .filter(({ type }) => type === 'InternalIP')
    .map(({ address }) => `${address}/${isIPv6(address) ? 128 : 32}`);
  // What an agent writes is data from another machine: what is no range takes nothing.
  const cidrs = [...routes, ...addresses].map((text) => text.trim());
  return {
    ipv4: cidrs
      .filter((cidr) => /^\d{1,3}(\.\d{1,3}){3}\/\d{1,2}$/.test(cidr) && isRange(cidr))
      .map((cidr) => ({ range: parseCidr(cidr), holder })),
    ipv6: cidrs.filter(isIpv6Range).map((cidr) => ({ range: parseIpv6Cidr(cidr), holder })),
  };
}

function isIpv6Range(cidr: string): boolean {
  const match = /^([^/%]+)\/(\d{1,3})$/.exec(cidr);
  return isIPv6(match?.[1] ?? '') && Number(match?.[2]) > 0 && Number(match?.[2]) <= 128;
}

function isRange(cidr: string): boolean {
  const [address = '', prefix = ''] = cidr.split('/');
  return Number(prefix) > 0 && Number(prefix) <= 32 && address.split('.').every((octet) => Number(octet) <= 255);
}
