// Watched: Services; Containers (their Service, and the Service whose slot name they hold); Networks (virtual IPs).
import { isDeepStrictEqual } from 'node:util';
import type { Network } from '../../crds/network.ts';
import type { Service } from '../../crds/service.ts';
import type { RunPart } from '../../lib/run-all.ts';
import { createIndex, type Cache } from '../runtime/cache.ts';
import { createController, watch, type Watch } from '../runtime/controller.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { controllerOf, joinKey, keyOf } from '../runtime/object-key.ts';
import { networksOf } from '../network/plan.ts';
import { portKeysOf } from './published-ports.ts';
import { createServiceReconciler, writeServiceRefusal, type ServiceDeps } from './reconcile.ts';
import { createVirtualIpAllocator } from './virtual-ips.ts';

/** The part that keeps every Service's Containers. */
export function createServiceController(deps: ControllerDeps): RunPart {
  const { services, containers, networks } = deps.caches;
  const inNamespace = createIndex(services, ({ metadata }) => [metadata.namespace ?? '']);
  const byNetwork = createIndex(services, ({ metadata, spec }) =>
    networksOf({ spec: spec.template.spec }).map((name) => joinKey(metadata.namespace, name)),
  );
  const servicesByPort = createIndex(services, portKeysOf);
  const virtualIps = createVirtualIpAllocator({
    network: (namespace, name) => networks.get(joinKey(namespace, name)),
    services: (namespace) => inNamespace.get(namespace),
  });
  const healed: ServiceDeps['healed'] = new Map();
  services.subscribe(({ object, deleted }) => {
    if (!deleted) return;
    virtualIps.release(object.metadata.uid ?? '');
    healed.delete(object.metadata.uid ?? '');
  });
  const serviceDeps: ServiceDeps = {
    ...deps,
    services,
    containers,
    childrenOf: createIndex(containers, (container) => {
      const owner = controllerOf(container);
      return owner?.kind === 'Service' ? [owner.uid] : [];
    }),
    runsOf: createIndex(services, (service) => {
      const owner = controllerOf(service);
      return owner?.kind === 'Service' ? [owner.uid] : [];
    }),
    virtualIps,
    healed,
    servicesByPort,
  };
  return createController(deps, {
    name: 'service',
    reconcile: createServiceReconciler(serviceDeps),
    onTerminal: (key, error, signal) => writeServiceRefusal(serviceDeps, key, error, signal),
    watches: [
      // A port that one has, or gives up, is of interest to all that ask for it.
      watch(services, (service) => [
        keyOf(service),
        ...scheduleKeys(service),
        ...portKeysOf(service).flatMap((port) => servicesByPort.get(port).map(keyOf)),
      ]),
      watch(containers, (container) => {
        const owner = controllerOf(container);
        if (owner) return owner.kind === 'Service' ? [joinKey(container.metadata.namespace, owner.name)] : [];
        // A Container of nobody may hold the name of a slot; when it goes, its Service can go on.
        const [, prefix] = /^(.+)-\d+(?:-try\d+)?$/.exec(container.metadata.name) ?? [];
        return prefix === undefined ? [] : [joinKey(container.metadata.namespace, prefix)];
      }),
      subnetChanges(networks, (network) => byNetwork.get(keyOf(network)).map(keyOf)),
    ],
  });
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
