// Watched: Services; Containers (their Service, and the Service whose slot name they hold); Networks (virtual IPs); Nodes
// (Global Services).
import { isDeepStrictEqual } from 'node:util';
import type { Node } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import type { Network } from '../../crds/network.ts';
import type { Service } from '../../crds/service.ts';
import type { RunPart } from '../../lib/run-all.ts';
import { createIndex, type Cache } from '../runtime/cache.ts';
import { createController, watch, type Watch } from '../runtime/controller.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { portConflictsOf } from '../runtime/port-conflicts.ts';
import { controllerOf, joinKey, keyOf } from '../runtime/object-key.ts';
import { networksOf } from '../network/plan.ts';
import { lookDelayMs } from './look-pace.ts';
import { portKeysOf } from './published-ports.ts';
import { withPossibleTimes } from './possible-times.ts';
import { createServiceReconciler, writeServiceRefusal, type ServiceDeps } from './reconcile.ts';
import { createVirtualIpAllocator } from './virtual-ips.ts';

/** The part that keeps every Service's Containers. */
export function createServiceController(deps: ControllerDeps & Pick<ServiceDeps, 'findPlace'>): RunPart {
  const { services, containers, networks, nodes } = deps.caches;
  const inNamespace = createIndex(services, ({ metadata }) => [metadata.namespace ?? '']);
  const byNetwork = createIndex(services, ({ metadata, spec }) =>
    networksOf({ spec: spec.template.spec }).map((name) => joinKey(metadata.namespace, name)),
  );
  const byMode = createIndex(services, ({ spec }) => [spec.mode]);
  const servicesByPort = createIndex(services, portKeysOf);
  const virtualIps = createVirtualIpAllocator({
    network: (namespace, name) => networks.get(joinKey(namespace, name)),
    services: (namespace) => inNamespace.get(namespace),
  });
  const healed: ServiceDeps['healed'] = new Map();
  const written: ServiceDeps['written'] = new Map();
  const writtenAt: ServiceDeps['writtenAt'] = new Map();
  services.subscribe(({ object, deleted }) => {
    if (!deleted) return;
    virtualIps.release(object.metadata.uid ?? '');
    healed.delete(object.metadata.uid ?? '');
    written.delete(object.metadata.uid ?? '');
    writtenAt.delete(object.metadata.uid ?? '');
  });
  const byService = createIndex(containers, (container) => {
    const owner = controllerOf(container);
    return owner?.kind === 'Service' ? [owner.uid] : [];
  });
  const serviceDeps: ServiceDeps = {
    ...deps,
    services,
    containers,
    nodes,
    childrenOf: withPossibleTimes(byService, deps.clock),
    runsOf: createIndex(services, (service) => {
      const owner = controllerOf(service);
      return owner?.kind === 'Service' ? [owner.uid] : [];
    }),
    virtualIps,
    healed,
    written,
    writtenAt,
    servicesByPort,
    nodesInConflict: createIndex(nodes, (node) => portConflictsOf(node).keys()),
  };
  const reconcile = createServiceReconciler(serviceDeps);
  const lookedAt = new Map<string, number>();
  const delayMs = (key: string): number => {
    const { spec, status } = services.get(key) ?? {};
    const containers = Math.max(spec?.replicas ?? 0, status?.replicas ?? 0);
    return lookDelayMs(containers, { lookedAt: lookedAt.get(key), now: deps.clock.now() });
  };
  return createController(deps, {
    name: 'service',
    reconcile: async (key, options) => {
      try {
        return await reconcile(key, options);
      } finally {
        if (services.get(key)) lookedAt.set(key, deps.clock.now());
        else lookedAt.delete(key);
      }
    },
    onTerminal: (key, error, signal) => writeServiceRefusal(serviceDeps, key, error, signal),
    watches: [
      // A port that one has, or gives up, is of interest to all that ask for it.
      watch(services, (service) => [
        keyOf(service),
        ...scheduleKeys(service),
        ...portKeysOf(service).flatMap((port) => servicesByPort.get(port).map(keyOf)),
      ]),
      memberChanges(containers, delayMs),
      placementChanges(nodes, () => byMode.get('Global').map(keyOf)),
      conflictChanges(nodes),
      subnetChanges(networks, (network) => byNetwork.get(keyOf(network)).map(keyOf)),
    ],
  });
}

// `a`, `a-b` for `a-b-c`: the Services that may have a slot of that name, be it a number, a node or another try.
function prefixesOf(name: string): string[] {
  return [...name.matchAll(/-/g)].map(({ index }) => name.slice(0, index)).filter((prefix) => prefix !== '');
}

function memberChanges(containers: Cache<Container>, delayMs: (key: string) => number): Watch {
  const keysOf = (container: Container): string[] => {
    const { namespace, name } = container.metadata;
    const owner = controllerOf(container);
    if (owner) return owner.kind === 'Service' ? [joinKey(namespace, owner.name)] : [];
    // A Container of nobody may hold the name of a slot; when it goes, its Service can go on.
    return prefixesOf(name).map((prefix) => joinKey(namespace, prefix));
  };
  return {
    synced: (signal) => containers.synced(signal),
    subscribe: (queue) =>
      containers.subscribe(({ object, previous }) => {
        const keys = new Set([...keysOf(object), ...(previous ? keysOf(previous) : [])]);
        for (const key of keys) queue.addAfter(key, delayMs(key));
      }),
  };
}

// A Node is written with each change of what it reports; a Global Service only cares for what decides where it is.
function placementChanges(nodes: Cache<Node>, keys: () => readonly string[]): Watch {
  const relevant = ({ metadata, spec, status }: Node): unknown => [
    metadata.uid,
    metadata.labels,
    metadata.deletionTimestamp,
    spec?.taints,
    status?.nodeInfo,
  ];
  return {
    synced: (signal) => nodes.synced(signal),
    subscribe: (queue) =>
      nodes.subscribe(({ object, previous, deleted }) => {
        if (previous && !deleted && isDeepStrictEqual(relevant(previous), relevant(object))) return;
        for (const key of keys()) queue.add(key);
      }),
  };
}

// A Node is written often, its conflicts seldom; with a node that dies they are over.
function conflictChanges(nodes: Cache<Node>): Watch {
  const factsOf = (node: Node | undefined): string =>
    JSON.stringify(node === undefined ? [] : [...portConflictsOf(node)]);
  return {
    synced: (signal) => nodes.synced(signal),
    subscribe: (queue) =>
      nodes.subscribe(({ object, previous, deleted }) => {
        if (!deleted && factsOf(previous) === factsOf(object)) return;
        for (const node of [object, previous])
          for (const key of node ? portConflictsOf(node).keys() : []) queue.add(key);
      }),
  };
}

// A run of a schedule is of interest to the Service that has the schedule.
function scheduleKeys(run: Service): string[] {
  const owner = controllerOf(run);
  return owner?.kind === 'Service' ? [joinKey(run.metadata.namespace, owner.name)] : [];
}

// The status of a Network changes with every endpoint; a Service only cares for the addresses it may take.
function subnetChanges(networks: Cache<Network>, keysOf: (network: Network) => readonly string[]): Watch {
  return {
    synced: (signal) => networks.synced(signal),
    subscribe: (queue) =>
      networks.subscribe(({ object, previous }) => {
        if (previous && isDeepStrictEqual(previous.status?.subnets, object.status?.subnets)) return;
        for (const key of keysOf(object)) queue.add(key);
      }),
  };
}
