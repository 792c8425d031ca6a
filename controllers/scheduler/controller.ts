// Watched: Containers (themselves, and as holders of what others wait for), Nodes, Volumes, Networks, Images.
import { isDeepStrictEqual } from 'node:util';
import type { Node } from '../../crds/builtin.ts';
import { containerKind } from '../../crds/container.ts';
import { Histogram, type Registry } from '../../lib/metrics.ts';
import type { RunPart } from '../../lib/run-all.ts';
import { usesMeaning } from '../image/plan.ts';
import { createIndex } from '../runtime/cache.ts';
import { createController, watch, type Watch } from '../runtime/controller.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { ENCRYPTION_KEY_ANNOTATION, keyOf } from '../runtime/object-key.ts';
import { createLedger } from './ledger.ts';
import { createFindPlace, type FindPlace } from './place.ts';
import { placementContext } from './placement-context.ts';
import { createSchedulerReconciler } from './reconcile.ts';
import { createWaiting, type Waiting } from './waiting.ts';

export interface Scheduler extends RunPart {
  /** For those that create Containers. */
  readonly findPlace: FindPlace;
}

/** The part that binds Containers to nodes. */
export function createScheduler(deps: ControllerDeps, registry: Registry): Scheduler {
  const { containers, nodes, volumes, networks, images } = deps.caches;
  const ledger = createLedger();
  const waiting = createWaiting();
  const attempts = new Histogram({
    name: 'scheduler_scheduling_attempt_duration_seconds',
    help: 'Time to find a node for a container',
    labelNames: ['result'],
    buckets: [0.0001, 0.001, 0.01, 0.1, 1],
    registers: [registry],
  });
  attempts.zero({ result: 'scheduled' });
  attempts.zero({ result: 'unschedulable' });

  nodes.subscribe(({ object, deleted }) => {
    if (deleted) ledger.removeNode(object.metadata.name);
    else ledger.setNode(object);
  });
  const holders: Watch = {
    synced: (signal) => containers.synced(signal),
    subscribe: (queue) =>
      containers.subscribe(({ object, previous, deleted }) => {
        const key = keyOf(object);
        const isFreed = deleted ? ledger.removeContainer(key, object.metadata.uid) : ledger.setContainer(object);
        const isNewlyBound = object.spec.nodeName !== undefined && previous?.spec.nodeName === undefined;
        if (isFreed) waiting.retry(queue);
        else if (isNewlyBound) for (const companion of waiting.companionsOf(key)) queue.add(companion);
      }),
  };
  let isReady = false;
  const context = placementContext(
    { volumes, networks, containers, imagesByUse: createIndex(images, usesMeaning) },
    ledger,
  );
  const observeAttempt = (result: 'scheduled' | 'unschedulable', seconds: number): void =>
    attempts.observe({ result }, seconds);
  const { events, clock } = deps;
  const part = createController(deps, {
    name: 'scheduler',
    workers: 16,
    start: () => void (isReady = true),
    reconcile: createSchedulerReconciler({
      containers: deps.client.kind(containerKind),
      cache: containers,
      context,
      ledger,
      waiting,
      budgets: deps.caches.budgets,
      displaced: new Map(),
      events,
      clock,
      observeAttempt,
    }),
    watches: [
      holders,
      watch(containers, (container, deleted) => (deleted ? [] : [keyOf(container)])),
      retryAll(nodes, waiting, isSameForPlacement),
      retryAll(images, waiting, (a, b) => a.status?.platform === b.status?.platform),
      retryAll(networks, waiting, (a, b) => a.spec.encrypted === b.spec.encrypted),
      retryAll(volumes, waiting, (a, b) => a.status?.nodeName === b.status?.nodeName),
    ],
  });
  const findPlace = createFindPlace({ ledger, context, clock, isReady: () => isReady, observeAttempt });
  return { ...part, findPlace };
}

// A node's heartbeat changes its status every few seconds; only what a filter reads is a reason to try again.
function isSameForPlacement(a: Node, b: Node): boolean {
  const view = ({ metadata, spec, status }: Node): unknown => [
    metadata.labels,
    Boolean(metadata.annotations?.[ENCRYPTION_KEY_ANNOTATION]),
    spec,
    status?.allocatable,
    status?.conditions?.find(({ type }) => type === 'Ready')?.status,
  ];
  return isDeepStrictEqual(view(a), view(b));
}

function retryAll<T extends Parameters<typeof keyOf>[0]>(
  source: {
    synced(signal: AbortSignal): Promise<void>;
    subscribe(handler: (change: { object: T; previous: T | undefined; deleted: boolean }) => void): () => void;
  },
  waiting: Waiting,
  isSame: (a: T, b: T) => boolean,
): Watch {
  return {
    synced: (signal) => source.synced(signal),
    subscribe: (queue) =>
      source.subscribe(({ object, previous, deleted }) => {
        if (!deleted && previous && isSame(previous, object)) return;
        waiting.retry(queue);
      }),
  };
}
