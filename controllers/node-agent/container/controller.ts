// The controller of Containers on this node: what is watched, and what becomes of runtime events.
import type { Container } from '../../../crds/container.ts';
import type { Image } from '../../../crds/image.ts';
import type { KubernetesObject } from '../../../crds/kind.ts';
import type { Network } from '../../../crds/network.ts';
import type { Service } from '../../../crds/service.ts';
import type { Volume } from '../../../crds/volume.ts';
import type { RunPart } from '../../../lib/run-all.ts';
import { createController, watch, type LoopDeps, type WatchedKind } from '../../runtime/controller.ts';
import { keyOf } from '../../runtime/object-key.ts';
import type { Reconcile } from '../../runtime/reconciler.ts';
import type { WorkQueue } from '../../runtime/workqueue.ts';
import type { Cluster } from '../cluster.ts';

/** Containers are mostly waited for, not worked on: stopping one takes its grace period. */
const WORKERS = 64;
/** A container that waits for its host to be well again should not wait for minutes after that. */
const MAX_BACKOFF_MS = 30_000;

export interface ContainerWatches {
  readonly containers: WatchedKind<Container>;
  readonly images: WatchedKind<Image>;
  readonly volumes: WatchedKind<Volume>;
  readonly networks: WatchedKind<Network>;
  readonly services: WatchedKind<Service>;
}

/** The part to run; `onQueue` gets the queue, for events that come from elsewhere. */
export function createContainerController(
  loop: LoopDeps,
  options: {
    readonly reconcile: Reconcile;
    readonly watches: ContainerWatches;
    readonly cluster: Cluster;
    readonly nodeName: string;
    readonly onQueue: (queue: Pick<WorkQueue, 'add' | 'addAfter'>) => void;
  },
): RunPart {
  const { watches, cluster, nodeName } = options;
  const isOwn = ({ spec }: Container): boolean => spec.nodeName === nodeName;
  /** Own Containers of the namespace that still wait for something: a change may be what they wait for. */
  const waitingIn = ({ metadata }: KubernetesObject): string[] =>
    cluster.containers
      .list(metadata.namespace ?? '')
      .filter((container) => isOwn(container) && container.status?.phase !== 'Running')
      .map(keyOf);
  /** Those that wait for, or borrow from, another Container. */
  const dependentsOf = (changed: Container): string[] =>
    cluster.containers
      .list(changed.metadata.namespace ?? '')
      .filter((container) => isOwn(container) && namesOf(container).includes(changed.metadata.name))
      .map(keyOf);
  return createController(loop, {
    name: 'node-agent',
    workers: WORKERS,
    maxBackoffMs: MAX_BACKOFF_MS,
    reconcile: options.reconcile,
    start: options.onQueue,
    watches: [
      watch(watches.containers, (container) => [
        ...(isOwn(container) ? [keyOf(container)] : []),
        ...dependentsOf(container),
      ]),
      watch(watches.images, waitingIn),
      watch(watches.volumes, waitingIn),
      watch(watches.networks, waitingIn),
      watch(watches.services, (service) =>
        waitingIn(service).filter((key) => {
          const container = cluster.containers.get(service.metadata.namespace ?? '', key.split('/')[1] ?? '');
          return container?.spec.dependsOn?.some(({ kind }) => kind === 'Service') ?? false;
        }),
      ),
    ],
  });
}

function namesOf({ spec }: Container): string[] {
  const shared = spec.shareNamespaces;
  return [
    ...(spec.dependsOn ?? []).filter(({ kind }) => kind === 'Container').map(({ name }) => name),
    ...(spec.volumesFrom ?? []).map(({ container }) => container),
    ...[shared?.network, shared?.pid, shared?.ipc].filter((name) => name !== undefined),
  ];
}
