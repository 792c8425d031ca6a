// Every cluster reconciler, built by hand from the informers they share.
import type { InformerSet } from '../client/informer-set.ts';
import { NODE_LEASE_NAMESPACE } from '../client/lease.ts';
import { leaseKind, namespaceKind, nodeKind, type Lease, type Namespace, type Node } from '../crds/builtin.ts';
import { containerKind } from '../crds/container.ts';
import { disruptionBudgetKind } from '../crds/disruption-budget.ts';
import { archiveKind, type Archive } from '../crds/archive.ts';
import { imageKind } from '../crds/image.ts';
import type { KindName, KubernetesObject } from '../crds/kind.ts';
import { networkKind } from '../crds/network.ts';
import { serviceKind } from '../crds/service.ts';
import { volumeKind } from '../crds/volume.ts';
import type { Registry } from '../lib/metrics.ts';
import type { RunPart } from '../lib/run-all.ts';
import { createAutoscaler, type AutoscaleOptions } from './autoscale/controller.ts';
import { createDisruptionController } from './disruption/controller.ts';
import { createGarbageCollector } from './garbage-collector/controller.ts';
import { createTtlController } from './garbage-collector/ttl.ts';
import { createArchiveController } from './archive/controller.ts';
import { createImageController } from './image/controller.ts';
import { createNamespaceController } from './namespace/controller.ts';
import { createNetworkController } from './network/controller.ts';
import { DEFAULT_WIREGUARD_PORT } from './network/encryption.ts';
import { DEFAULT_VXLAN_PORT } from './network/overlay.ts';
import { createNodeLifecycle } from './node-lifecycle/controller.ts';
import { createRebalancer, type RebalancerOptions } from './rebalancer/controller.ts';
import type { WatchedKind } from './runtime/controller.ts';
import type { Caches, ControllerDeps } from './runtime/deps.ts';
import { resourceName } from './runtime/discovery.ts';
import { createScheduler } from './scheduler/controller.ts';
import { createServiceController } from './service/controller.ts';
import { createVolumeController } from './volume/controller.ts';

/** One informer per kind. */
export function watchKinds(informers: InformerSet): Caches {
  return {
    containers: informers.add(containerKind),
    services: informers.add(serviceKind),
    images: informers.add(imageKind),
    archives: informers.add<Archive>(archiveKind),
    volumes: informers.add(volumeKind),
    networks: informers.add(networkKind),
    nodes: informers.add<Node>(nodeKind),
    namespaces: informers.add<Namespace>(namespaceKind),
    budgets: informers.add(disruptionBudgetKind),
    nodeLeases: informers.add<Lease>(leaseKind, { namespace: NODE_LEASE_NAMESPACE }),
  };
}

export interface ControllerOptions {
  readonly times: { readonly minGraceMs: number; readonly evictionDelayMs: number };
  /** Without it nothing that runs is ever moved. */
  readonly rebalancer?: RebalancerOptions | undefined;
  readonly autoscale: AutoscaleOptions;
  /** UDP port that overlays use between nodes. */
  readonly vxlanPort?: number;
  /** UDP port that encrypted overlays use between nodes. */
  readonly wireguardPort?: number;
}

/** The parts that only the leader runs. */
export function composeControllers(deps: ControllerDeps, registry: Registry, options: ControllerOptions): RunPart[] {
  const { times, rebalancer, autoscale } = options;
  const { vxlanPort = DEFAULT_VXLAN_PORT, wireguardPort = DEFAULT_WIREGUARD_PORT } = options;
  const { containers, services, images, volumes, networks, nodes, namespaces, budgets } = deps.caches;
  const shared = new Map<string, WatchedKind<KubernetesObject>>([
    share(containerKind, containers),
    share(serviceKind, services),
    share(imageKind, images),
    share(volumeKind, volumes),
    share(networkKind, networks),
    share(nodeKind, nodes),
    share(namespaceKind, namespaces),
    share(disruptionBudgetKind, budgets),
  ]);
  const scheduler = createScheduler(deps, registry);
  return [
    createServiceController({ ...deps, findPlace: scheduler.findPlace }),
    scheduler,
    ...(rebalancer ? [createRebalancer(deps, rebalancer)] : []),
    createAutoscaler(deps, autoscale),
    createDisruptionController(deps),
    createImageController(deps),
    createArchiveController(deps),
    createVolumeController(deps),
    createNetworkController(deps, { vxlanPort, wireguardPort }),
    createNamespaceController(deps),
    createNodeLifecycle(deps, times),
    createTtlController(deps),
    createGarbageCollector(deps, shared),
  ];
}

// A handler that takes any object takes those of one kind: sound, but beyond what method parameters let the compiler see.
function share<T extends KubernetesObject>(
  kind: KindName,
  cache: WatchedKind<T>,
): [string, WatchedKind<KubernetesObject>] {
  return [
    resourceName(kind),
    { synced: (signal) => cache.synced(signal), subscribe: (handler) => cache.subscribe(handler) },
  ];
}
