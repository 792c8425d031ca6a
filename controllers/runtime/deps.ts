// What every controller is built from.
import type { ApiClient } from '../../client/client.ts';
import type { Archive } from '../../crds/archive.ts';
import type { Lease, Namespace, Node } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import type { DisruptionBudget } from '../../crds/disruption-budget.ts';
import type { Image } from '../../crds/image.ts';
import type { Network } from '../../crds/network.ts';
import type { Service } from '../../crds/service.ts';
import type { Volume } from '../../crds/volume.ts';
import type { Cache } from './cache.ts';
import type { LoopDeps } from './controller.ts';
import type { Events } from './events.ts';

export interface Caches {
  readonly containers: Cache<Container>;
  readonly services: Cache<Service>;
  readonly images: Cache<Image>;
  readonly archives: Cache<Archive>;
  readonly volumes: Cache<Volume>;
  readonly networks: Cache<Network>;
  readonly nodes: Cache<Node>;
  readonly namespaces: Cache<Namespace>;
  readonly budgets: Cache<DisruptionBudget>;
  /** Heartbeats: Leases of namespace kube-node-lease. */
  readonly nodeLeases: Cache<Lease>;
}

export interface ControllerDeps extends LoopDeps {
  readonly client: ApiClient;
  readonly caches: Caches;
  readonly events: Events;
}
