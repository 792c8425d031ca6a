// The agent's controllers beside that of Containers: what is watched, and which keys a change leads to.
import { isDeepStrictEqual } from 'node:util';
import type { ApiClient } from '../../client/client.ts';
import type { ContainerEndpoint } from '../../crds/container-endpoint.ts';
import type { Container } from '../../crds/container.ts';
import { isIngress } from '../../crds/network.ts';
import { imageKind, type Image } from '../../crds/image.ts';
import { volumeKind, type Volume } from '../../crds/volume.ts';
import type { RunPart } from '../../lib/run-all.ts';
import { createController, watch, type LoopDeps, type Watch } from '../runtime/controller.ts';
import { archiveOf } from '../image/plan.ts';
import { findCondition } from '../runtime/conditions.ts';
import { keyOf } from '../runtime/object-key.ts';
import { keepArchives } from './archives/archives.ts';
import { readGitHead } from './builds/git-head.ts';
import type { Cluster } from './cluster.ts';
import { networkNamesOf } from './container/sandbox-config.ts';
import { createImageReconciler, SWEEP_KEY, type ImageReconcilerDeps } from './images/image-controller.ts';
import type { ImagePuller } from './images/image-puller.ts';
import type { ImagePusher } from './images/image-pusher.ts';
import { createLateQueue, type LateQueue } from './late-queue.ts';
import { createNetworkReconciler, type NetworkReconcilerDeps } from './networks/network-controller.ts';
import type { ServiceTablesReconciler } from './networks/service-tables-controller.ts';
import { SERVICE_LABEL } from './networks/service-tables.ts';
import type { NodeRuntime } from './runtime/node-runtime.ts';
import type { RuntimeCache } from './runtime/runtime-cache.ts';
import { createVolumeReconciler } from './volumes/volume-controller.ts';
import type { VolumeRoots } from './volumes/volume-paths.ts';
import type { AgentWatches } from './watch-cluster.ts';

/** What was brought in and named by nobody is let go of some time after. */
const KEEP_ARCHIVES_MS = 10 * 60_000;

export interface ObjectControllerDeps {
  readonly client: ApiClient;
  readonly watched: AgentWatches;
  readonly cluster: Cluster;
  readonly runtime: NodeRuntime;
  readonly cache: RuntimeCache;
  readonly nodeName: string;
  readonly roots: VolumeRoots;
  readonly puller: ImagePuller;
  readonly pusher: ImagePusher;
  readonly recordImage: ImageReconcilerDeps['record'];
  readonly builds: Pick<
    ImageReconcilerDeps,
    'builder' | 'buildLogs' | 'networks' | 'fetchArchive' | 'archivePath' | 'ownNode'
  >;
  readonly networkDeps: NetworkReconcilerDeps;
  readonly tables: ServiceTablesReconciler;
  /** Resolves when the runtime has said what it holds, and what nobody owns has been tried to remove. */
  readonly firstLook: (signal: AbortSignal) => Promise<void>;
  readonly queues: { readonly networks: LateQueue; readonly tables: LateQueue };
}

/** Images, Volumes, Networks and the tables of Services on this node. */
export function createObjectControllers(loop: LoopDeps, deps: ObjectControllerDeps): RunPart[] {
  return [
    imageController(loop, deps),
    archiveController(loop, deps),
    volumeController(loop, deps),
    ...networkControllers(loop, deps),
  ];
}

function imageController(loop: LoopDeps, deps: ObjectControllerDeps): RunPart {
  const { client, watched, cluster, runtime, puller, pusher, nodeName } = deps;
  const queue = createLateQueue();
  return createController(loop, {
    name: 'node-images',
    workers: 4,
    watches: [
      watch(watched.images, (image) => [keyOf(image)]),
      ownLabels(deps),
      baseImages(deps),
      watch(watched.archives, ({ metadata, digest }) =>
        cluster.images
          .list(metadata.namespace)
          .filter((image) => archiveOf(image) === digest)
          .map(keyOf),
      ),
    ],
    start: (queued) => {
      queue.attach(queued);
      queued.add(SWEEP_KEY);
    },
    reconcile: createImageReconciler({
      ...{ cluster, runtime, puller, pusher, nodeName, readGitHead },
      ...deps.builds,
      client: client.kind<Image>(imageKind),
      clock: loop.clock,
      record: deps.recordImage,
      enqueue: queue.add,
    }),
  });
}

/** An Image that becomes Ready may be what builds of its namespace could not find. */
function baseImages({ watched, builds }: ObjectControllerDeps): Watch {
  return {
    synced: (signal) => watched.images.synced(signal),
    subscribe: () =>
      watched.images.subscribe(({ object, previous, deleted }) => {
        if (!deleted && isNews(object, previous)) builds.builder.retry(object.metadata.namespace ?? '');
      }),
  };
}

/** Whether a FROM may find the Image, or another one by its names, that did not before. */
function isNews(image: Image, previous: Image | undefined): boolean {
  if (previous === undefined || findCondition(image, 'Ready')?.status !== 'True') return false;
  return (
    findCondition(previous, 'Ready')?.status !== 'True' ||
    image.status?.digest !== previous.status?.digest ||
    !isDeepStrictEqual(image.status?.tags, previous.status?.tags)
  );
}

/** Labels decide what a node is to have before anybody asks for it. */
function ownLabels({ watched, cluster }: ObjectControllerDeps): Watch {
  return {
    synced: (signal) => watched.nodes.synced(signal),
    subscribe: (queue) =>
      watched.nodes.subscribe(({ object, previous }) => {
        if (previous && isDeepStrictEqual(previous.metadata.labels, object.metadata.labels)) return;
        for (const image of cluster.images.list()) if (image.spec.prepull) queue.add(keyOf(image));
      }),
  };
}

function archiveController(loop: LoopDeps, { watched, cluster, runtime, nodeName }: ObjectControllerDeps): RunPart {
  return createController(loop, {
    name: 'node-archives',
    workers: 1,
    watches: [watch(watched.archives, () => ['archives'], { delayMs: 200 })],
    start: (queue) => queue.add('archives'),
    reconcile: async () => {
      await keepArchives({ archives: cluster.archives, runtime, nodeName });
      return { requeueAfterMs: KEEP_ARCHIVES_MS };
    },
  });
}

function volumeController(loop: LoopDeps, deps: ObjectControllerDeps): RunPart {
  const { client, watched, cluster, roots, nodeName } = deps;
  const reconcile = createVolumeReconciler({
    ...{ cluster, roots, nodeName },
    client: client.kind<Volume>(volumeKind),
    mountedBy: (namespace, name) =>
      cluster.containers
        .list(namespace)
        .filter((container) => container.spec.nodeName === nodeName && holdsVolume(deps.cache, container, name))
        .map(({ metadata }) => metadata.name),
  });
  return createController(loop, {
    name: 'node-volumes',
    workers: 2,
    watches: [watch(watched.volumes, (volume) => [keyOf(volume)])],
    // The bytes of a Volume that is mounted are not removed: what mounts it must be known.
    async reconcile(key, stop) {
      await deps.firstLook(stop.signal);
      return reconcile(key, stop);
    },
  });
}

function holdsVolume(cache: RuntimeCache, { metadata, status }: Container, volume: string): boolean {
  const mounts = status?.mounts ?? [];
  const isNamed = mounts.some(({ name, type }) => name === volume && ['Volume', 'Anonymous'].includes(type));
  return isNamed && cache.viewOf(metadata.uid ?? '').sandboxes.length > 0;
}

/** Its names are known on every node. */
const isOnOverlay = (cluster: Cluster, container: Container | ContainerEndpoint): boolean =>
  networkNamesOf(container).some(
    (name) => cluster.networks.get(container.metadata.namespace ?? '', name)?.spec.driver === 'overlay',
  );

function networkControllers(loop: LoopDeps, { watched, nodeName, queues, ...deps }: ObjectControllerDeps): RunPart[] {
  return [
    createController(loop, {
      name: 'node-networks',
      workers: 2,
      start: queues.networks.attach,
      watches: [
        watch(watched.networks, (network) => [keyOf(network)]),
        watch(watched.containers, (container) =>
          container.spec.nodeName === nodeName
            ? networkNamesOf(container).map((name) => `${container.metadata.namespace ?? ''}/${name}`)
            : [],
        ),
      ],
      reconcile: createNetworkReconciler(deps.networkDeps),
    }),
    createController(loop, {
      name: 'node-services',
      workers: 1,
      start: queues.tables.attach,
      watches: [
        watch(watched.services, () => ['tables']),
        watch(watched.containers, (container) => {
          const isMember = container.metadata.labels?.[SERVICE_LABEL] !== undefined;
          return isMember || isOnOverlay(deps.cluster, container) ? ['tables'] : [];
        }),
        watch(watched.endpoints, (endpoint) => {
          const isMember = endpoint.metadata.labels?.[SERVICE_LABEL] !== undefined;
          return isMember || isOnOverlay(deps.cluster, endpoint) ? ['tables'] : [];
        }),
        watch(watched.networks, (network) => (isIngress(network) ? ['tables'] : [])),
      ],
      reconcile: deps.tables.reconcile,
    }),
  ];
}
