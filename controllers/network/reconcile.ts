// Gives each Network its addresses, divides them over the nodes, lists its endpoints, and makes a `default` where a
// namespace has none.
import { isIP } from 'node:net';
import type { KindClient } from '../../client/client.ts';
import type { Namespace, Node } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import { PULL_NODE_ANNOTATION, type Image } from '../../crds/image.ts';
import { INGRESS_NETWORK, NetworkSpec, type Network, type NetworkSpecInput } from '../../crds/network.ts';
import type { Clock } from '../../lib/clock.ts';
import { isAlreadyExists } from '../../lib/errors.ts';
import type { Cache, Index } from '../runtime/cache.ts';
import { findCondition, setConditions } from '../runtime/conditions.ts';
import type { Events } from '../runtime/events.ts';
import { HOST_ROUTES_ANNOTATION, IN_USE_FINALIZER, isDeleting, splitKey } from '../runtime/object-key.ts';
import type { Reconcile } from '../runtime/reconciler.ts';
import { ensureFinalizer, removeFinalizer, writeStatus } from '../runtime/write.ts';
import { listNames } from '../volume/plan.ts';
import { parseCidr } from './ipv4.ts';
import { planUnderlays, type NodeAddresses } from './underlay.ts';
import { DEFAULT_NETWORK, planNetworkStatus } from './plan.ts';
import type { TakenRange } from './subnets.ts';

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
}

/** Must run with one worker: what one reconciliation allocates, the next one has to see. */
export function createNetworkReconciler(deps: NetworkDeps): Reconcile {
  const { client, clock, events } = deps;
  // Allocated and written, but perhaps not yet in the cache: by UID.
  const allocated = new Map<string, TakenRange[]>();
  const allocatedVnis = new Map<string, number>();

  function takenBesides(network: Network): TakenRange[] {
    const taken: TakenRange[] = [];
    const live = new Set<string>();
    for (const other of deps.networks.list()) {
      const uid = other.metadata.uid ?? '';
      live.add(uid);
      if (uid === network.metadata.uid) continue;
      // What was written last may not be in the cache yet.
      const known = [...rangesOf(other), ...(allocated.get(uid) ?? [])];
      taken.push(...known);
    }
    for (const uid of allocated.keys()) {
      if (live.has(uid)) continue;
      allocated.delete(uid);
      allocatedVnis.delete(uid);
    }
    for (const node of deps.nodes.list()) taken.push(...hostRanges(node));
    return taken;
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
    const status = planNetworkStatus({
      network,
      containers,
      builders: buildersOf(deps.imagesOn.get(key), deps.nodes.list()),
      taken: takenBesides(network),
      poolStart: poolStart(deps.namespaces.get('kube-system')),
      nodeNames: deps.nodes.list().map(({ metadata }) => metadata.name),
      underlays: planUnderlays(deps.nodes.list().map(addressesOf)),
      takenVnis: vnisBesides(network),
      vxlanPort: deps.vxlanPort,
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
function poolStart(namespace: Namespace | undefined): number {
  const digits = /^[0-9a-f]{8}/.exec(namespace?.metadata.uid ?? '')?.[0];
  return digits === undefined ? 0 : Number.parseInt(digits, 16);
}

const isTransient = (reason: string): boolean => ['NoNode', 'SettingUp', 'Usable'].includes(reason);

function rangesOf({ metadata, status }: Network): TakenRange[] {
  return (status?.subnets ?? [])
    .filter(({ cidr }) => !cidr.includes(':'))
    .map(({ cidr }) => ({ range: parseCidr(cidr), holder: `Network ${metadata.namespace ?? ''}/${metadata.name}` }));
}

const addressesOf = ({ metadata, status }: Node): NodeAddresses => ({
  name: metadata.name,
  addresses: (status?.addresses ?? [])
    .filter(({ type, address }) => type === 'InternalIP' && isIP(address) !== 0)
    .map(({ address }) => address),
});

function hostRanges(node: Node): TakenRange[] {
  const holder = `the routes of node ${node.metadata.name}`;
  const routes = (node.metadata.annotations?.[HOST_ROUTES_ANNOTATION] ?? '').split(',');
  const addresses = (node.status?.addresses ?? [])
    .filter(({ type }) => type === 'InternalIP')
    .map(({ address }) => `${address}/32`);
  return [...routes, ...addresses].flatMap((text) => {
    const cidr = text.trim();
    // What an agent writes is data from another machine: what is no IPv4 range takes nothing.
    return /^\d{1,3}(\.\d{1,3}){3}\/\d{1,2}$/.test(cidr) && isRange(cidr) ? [{ range: parseCidr(cidr), holder }] : [];
  });
}

function isRange(cidr: string): boolean {
  const [address = '', prefix = ''] = cidr.split('/');
  return Number(prefix) > 0 && Number(prefix) <= 32 && address.split('.').every((octet) => Number(octet) <= 255);
}
