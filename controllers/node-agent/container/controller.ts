// The controller of Containers on this node: what is watched, and what becomes of runtime events.
import type { Container } from '../../../crds/container.ts';
import type { Image } from '../../../crds/image.ts';
import type { Network } from '../../../crds/network.ts';
import type { ServiceFrontend } from '../../../crds/service-frontend.ts';
import type { Volume } from '../../../crds/volume.ts';
import type { RunPart } from '../../../lib/run-all.ts';
import { imageUseOf, usesMeaning } from '../../image/plan.ts';
import { createIndex, type Index } from '../../runtime/cache.ts';
import { createController, watch, type LoopDeps, type WatchedKind } from '../../runtime/controller.ts';
import { controllerOf, joinKey, keyOf } from '../../runtime/object-key.ts';
import type { Reconcile } from '../../runtime/reconciler.ts';
import type { WorkQueue } from '../../runtime/workqueue.ts';
import { networkNamesOf } from './sandbox-config.ts';

/**
 * Containers are mostly waited for, not worked on: stopping one takes its grace period, and must not hold up the start
 * of another. What works on the host has a limit of its own, see HOST_STEPS.
 */
const WORKERS = 1024;
/** Steps other than stops that change the host at the same time. */
export const HOST_STEPS = 64;
/** A container that waits for its host to be well again should not wait for minutes after that. */
const MAX_BACKOFF_MS = 30_000;

export interface ContainerWatches {
  readonly containers: WatchedKind<Container>;
  readonly images: WatchedKind<Image>;
  readonly volumes: WatchedKind<Volume>;
  readonly networks: WatchedKind<Network>;
  readonly services: WatchedKind<ServiceFrontend>;
}

/** The part to run; `onQueue` gets the queue, for events that come from elsewhere. */
export function createContainerController(
  loop: LoopDeps,
  options: {
    readonly reconcile: Reconcile;
    readonly watches: ContainerWatches;
    readonly nodeName: string;
    readonly onQueue: (queue: Pick<WorkQueue, 'add' | 'addAfter'>) => void;
  },
): RunPart {
  const { watches, nodeName } = options;
  const isOwn = ({ spec }: Container): boolean => spec.nodeName === nodeName;
  const own = (valuesOf: (container: Container) => string[]): Index<Container> =>
    createIndex(watches.containers, (container) => (isOwn(container) ? valuesOf(container) : []));
  const inNamespace =
    (namesOf: (container: Container) => string[]) =>
    (container: Container): string[] =>
      namesOf(container).map((name) => joinKey(container.metadata.namespace, name));
  const byCompanion = own(inNamespace(companionsOf));
  const byImage = own(imageUsesOf);
  const byVolume = own(inNamespace(({ spec }) => (spec.mounts ?? []).flatMap(({ volume }) => volume ?? [])));
  const byNetwork = own(inNamespace(networkNamesOf));
  const byService = own(inNamespace((container) => dependenciesOf(container, 'Service')));
  /** Of those that name it, the Containers that a change can help. */
  const waiting = (index: Index<Container>, values: readonly string[]): string[] =>
    values.flatMap((value) => index.get(value).filter(isWaiting).map(keyOf));
  return createController(loop, {
    name: 'node-agent',
    workers: WORKERS,
    maxBackoffMs: MAX_BACKOFF_MS,
    reconcile: options.reconcile,
    start: options.onQueue,
    watches: [
      watch(watches.containers, (container) => [
        ...(isOwn(container) ? [keyOf(container)] : []),
        ...byCompanion.get(keyOf(container)).map(keyOf),
        // The first of a Service that starts may be all that is waited for.
        ...waiting(byService, serviceKeysOf(container)),
      ]),
      watch(watches.images, (image) => waiting(byImage, usesMeaning(image))),
      watch(watches.volumes, (volume) => waiting(byVolume, [keyOf(volume)])),
      watch(watches.networks, (network) => waiting(byNetwork, [keyOf(network)])),
      watch(watches.services, (service) => waiting(byService, [keyOf(service)])),
    ],
  });
}

/** Neither there nor over. */
function isWaiting({ status }: Container): boolean {
  return !['Running', 'Paused', 'Succeeded', 'Failed'].includes(status?.phase ?? '');
}

/** Key of the Service that controls it, if one does. */
function serviceKeysOf(container: Container): string[] {
  const owner = controllerOf(container);
  return owner?.kind === 'Service' ? [joinKey(container.metadata.namespace, owner.name)] : [];
}

const dependenciesOf = ({ spec }: Container, kind: 'Container' | 'Service'): string[] =>
  (spec.dependsOn ?? []).filter((one) => one.kind === kind).map(({ name }) => name);

/** As usesMeaning() of an Image lists them: the image it runs, and those it mounts. */
function imageUsesOf(container: Container): string[] {
  const mounted = (container.spec.mounts ?? []).flatMap(({ image }) => image?.reference ?? []);
  return [
    imageUseOf(container),
    ...mounted.map((image) => imageUseOf({ ...container, spec: { ...container.spec, image, imageName: undefined } })),
  ];
}

/** Containers it waits for, or borrows from. */
function companionsOf(container: Container): string[] {
  const { spec } = container;
  const shared = spec.shareNamespaces;
  return [
    ...dependenciesOf(container, 'Container'),
    ...(spec.volumesFrom ?? []).map(({ container }) => container),
    ...[shared?.network, shared?.pid, shared?.ipc].filter((name) => name !== undefined),
  ];
}
