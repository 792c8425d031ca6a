// One controller: watched objects become keys, keys become reconciliations. It knows nothing of what is reconciled.
import { randomUUID } from 'node:crypto';
import type { KubernetesObject } from '../../crds/kind.ts';
import type { Clock } from '../../lib/clock.ts';
import { isAbort, messageOf, TerminalError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { RunPart } from '../../lib/run-all.ts';
import type { LoopMetrics } from './queue-metrics.ts';
import type { Reconcile } from './reconciler.ts';
import { createWorkQueue, type WorkQueue } from './workqueue.ts';

/** The part of an informer a controller needs. */
export interface WatchedKind<T extends KubernetesObject> {
  /** Resolves once the first list is in the cache. */
  synced(signal: AbortSignal): Promise<void>;
  /** Calls `handler` for each change, also for the first list; `previous` is absent then. Returns how to stop it. */
  subscribe(handler: (change: { object: T; previous: T | undefined; deleted: boolean }) => void): () => void;
}

/** How changes of one kind become keys of the controller. */
export interface Watch {
  synced(signal: AbortSignal): Promise<void>;
  subscribe(queue: Pick<WorkQueue, 'add' | 'addAfter'>): () => void;
}

/** Enqueues what `keysOf` says for the object as it is and as it was, so that a lost reference is noticed too. */
export function watch<T extends KubernetesObject>(
  informer: WatchedKind<T>,
  keysOf: (object: T, deleted: boolean) => Iterable<string>,
  options: { delayMs?: number } = {},
): Watch {
  return {
    synced: (signal) => informer.synced(signal),
    subscribe: (queue) =>
      informer.subscribe(({ object, previous, deleted }) => {
        const keys = new Set(keysOf(object, deleted));
        if (previous) for (const key of keysOf(previous, deleted)) keys.add(key);
        for (const key of keys) queue.addAfter(key, options.delayMs ?? 0);
      }),
  };
}

export interface ControllerOptions {
  readonly name: string;
  readonly reconcile: Reconcile;
  readonly watches: readonly Watch[];
  /** Reconciliations at the same time, of different keys; 4 unless said. */
  readonly workers?: number;
  /** Longest delay between tries of one key; 5 min unless said. */
  readonly maxBackoffMs?: number;
  /** Says in the object why it is given up on; failing here retries the key. */
  readonly onTerminal?: (key: string, error: TerminalError, signal: AbortSignal) => Promise<void>;
  /** Further sources of keys (timers, other parts of the process). */
  readonly start?: (queue: Pick<WorkQueue, 'add' | 'addAfter'>) => void;
}

export interface LoopDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: LoopMetrics;
  /**
   * Resolves once every cache of the process is complete. No controller works before: what it does not find in a cache
   * it takes for deleted, also in one whose changes it does not watch.
   */
  readonly synced: (signal: AbortSignal) => Promise<void>;
}

/** A part for runAll that reconciles until its signal fires and leaves no reconciliation behind. */
export function createController(deps: LoopDeps, options: ControllerOptions): RunPart {
  const queueMetrics = deps.metrics.queue(options.name);
  return {
    name: options.name,
    async run(signal) {
      const queue = createWorkQueue(
        {
          clock: deps.clock,
          metrics: queueMetrics,
          ...(options.maxBackoffMs === undefined ? {} : { maxBackoffMs: options.maxBackoffMs }),
        },
        signal,
      );
      const unsubscribe = options.watches.map((source) => source.subscribe(queue));
      try {
        await Promise.all([deps.synced(signal), ...options.watches.map((source) => source.synced(signal))]);
        options.start?.(queue);
        await Promise.all(Array.from({ length: options.workers ?? 4 }, () => work(deps, options, queue, signal)));
      } catch (error) {
        if (!(signal.aborted && isAbort(error))) throw error;
      } finally {
        for (const stop of unsubscribe) stop();
      }
    },
  };
}

async function work(deps: LoopDeps, options: ControllerOptions, queue: WorkQueue, signal: AbortSignal): Promise<void> {
  for (;;) {
    const key = await queue.get();
    if (key === undefined) return;
    try {
      await reconcileOnce(deps, options, queue, key, signal);
    } finally {
      queue.done(key);
    }
  }
}

async function reconcileOnce(
  deps: LoopDeps,
  options: ControllerOptions,
  queue: WorkQueue,
  key: string,
  signal: AbortSignal,
): Promise<void> {
  const log = deps.log.child({ controller: options.name, key, reconcileId: randomUUID().slice(0, 8) });
  const startedAt = deps.clock.now();
  const finish = (outcome: Parameters<LoopMetrics['reconciled']>[1]): void =>
    deps.metrics.reconciled(options.name, outcome, (deps.clock.now() - startedAt) / 1000);
  try {
    const result = await reconcileOrGiveUp(options, key, { signal, log });
    queue.forget(key);
    if (result === 'terminal') return finish('terminal_error');
    if (result.requeueAfterMs === undefined) return finish('success');
    queue.addAfter(key, result.requeueAfterMs);
    finish('requeue_after');
  } catch (error) {
    if (signal.aborted) return;
    const retryInMs = queue.addRateLimited(key);
    finish('error');
    // A conflict only says that the cache was behind; it heals by itself and is not worth a line per object.
    const level = queue.failures(key) > 3 ? 'warn' : 'debug';
    log[level]({ err: error, retryInMs, failures: queue.failures(key) }, 'reconcile failed');
  }
}

async function reconcileOrGiveUp(
  options: ControllerOptions,
  key: string,
  { signal, log }: { signal: AbortSignal; log: Logger },
): Promise<{ readonly requeueAfterMs?: number } | 'terminal'> {
  try {
    return await options.reconcile(key, { signal, log });
  } catch (error) {
    if (!(error instanceof TerminalError)) throw error;
    log.info(
      { reason: error.conditionReason, message: messageOf(error) },
      'reconcile gave up until the object changes',
    );
    await options.onTerminal?.(key, error, signal);
    return 'terminal';
  }
}
