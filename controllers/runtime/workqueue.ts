// The keyed queue below every controller. A key is in the queue at most once, is worked on by one worker at a time,
// and comes back after its worker is done when it was added meanwhile: nothing is lost and nothing runs twice at once.
import { backoffDelayMs } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { isAbort } from '../../lib/errors.ts';
import type { QueueMetrics } from './queue-metrics.ts';

export interface WorkQueueOptions {
  readonly clock: Clock;
  readonly metrics?: QueueMetrics;
  /** First and longest delay between tries of one key; 5 ms and 5 min unless said. */
  readonly initialBackoffMs?: number;
  readonly maxBackoffMs?: number;
  /** Retries of all keys together: a bucket of `burst` refilled `perSecond`; 100 and 50 unless said. */
  readonly retryBurst?: number;
  readonly retriesPerSecond?: number;
  readonly random?: () => number;
}

export interface WorkQueue {
  /** Queues `key` now. */
  add(key: string): void;
  /** Queues `key` after `delayMs`; an earlier time already set for it wins. */
  addAfter(key: string, delayMs: number): void;
  /** Queues `key` after its backoff, counting one failure; returns the delay. */
  addRateLimited(key: string): number;
  /** Forgets the failures of `key`. */
  forget(key: string): void;
  failures(key: string): number;
  /** The next key; waits for one. Undefined when the queue's signal fires. Every key got must be given back by done(). */
  get(): Promise<string | undefined>;
  done(key: string): void;
  readonly depth: number;
}

/** An empty queue. When `signal` fires, delayed keys stop waiting, and so does who waits for a key. */
export function createWorkQueue(options: WorkQueueOptions, signal: AbortSignal): WorkQueue {
  const { clock, metrics } = options;
  const ready: string[] = [];
  const queuedAt = new Map<string, number>();
  const processing = new Map<string, number>();
  const addedMeanwhile = new Set<string>();
  const waiting = new Map<string, number>();
  const failures = new Map<string, number>();
  const waiters: ((key: string | undefined) => void)[] = [];
  const bucket = createBucket(options.retryBurst ?? 100, options.retriesPerSecond ?? 50, clock);
  const backoff = {
    initialMs: options.initialBackoffMs ?? 5,
    maxMs: options.maxBackoffMs ?? 300_000,
    jitter: 0.2,
  };

  metrics?.trackUnfinished(() => {
    const now = clock.now();
    let seconds = 0;
    for (const startedAt of processing.values()) seconds += (now - startedAt) / 1000;
    return seconds;
  });

  // One listener for all: a signal walks through all it has for each that is added, and there may be a thousand workers.
  const release = (): void => {
    for (const resolve of waiters.splice(0)) resolve(undefined);
  };
  signal.addEventListener('abort', release, { once: true });

  function enqueue(key: string): void {
    queuedAt.set(key, clock.now());
    ready.push(key);
    metrics?.depth(ready.length);
    waiters.shift()?.(take());
  }

  function take(): string | undefined {
    const key = ready.shift();
    if (key === undefined) return undefined;
    const now = clock.now();
    metrics?.queued((now - (queuedAt.get(key) ?? now)) / 1000);
    queuedAt.delete(key);
    processing.set(key, now);
    metrics?.depth(ready.length);
    return key;
  }

  function add(key: string): void {
    if (signal.aborted) return;
    if (processing.has(key)) {
      if (addedMeanwhile.has(key)) return;
      addedMeanwhile.add(key);
      metrics?.added();
      return;
    }
    if (queuedAt.has(key)) return;
    metrics?.added();
    enqueue(key);
  }

  function addAfter(key: string, delayMs: number): void {
    if (delayMs <= 0) return add(key);
    const dueAt = clock.now() + delayMs;
    const already = waiting.get(key);
    if (already !== undefined && already <= dueAt) return;
    waiting.set(key, dueAt);
    void clock.sleep(delayMs, signal).then(
      () => {
        // A later, earlier-due call replaced this one: only the one that is still recorded adds the key.
        if (waiting.get(key) !== dueAt) return;
        waiting.delete(key);
        add(key);
      },
      (error: unknown) => {
        waiting.delete(key);
        if (!isAbort(error)) throw error;
      },
    );
  }

  return {
    add,
    addAfter,
    addRateLimited(key) {
      const count = (failures.get(key) ?? 0) + 1;
      failures.set(key, count);
      const delayMs = Math.max(backoffDelayMs(count, backoff, options.random), bucket());
      metrics?.retried();
      addAfter(key, delayMs);
      return delayMs;
    },
    forget: (key) => void failures.delete(key),
    failures: (key) => failures.get(key) ?? 0,
    async get() {
      if (signal.aborted) return undefined;
      return take() ?? new Promise((resolve) => waiters.push(resolve));
    },
    done(key) {
      const startedAt = processing.get(key);
      if (startedAt === undefined) return;
      processing.delete(key);
      metrics?.worked((clock.now() - startedAt) / 1000);
      if (addedMeanwhile.delete(key)) enqueue(key);
    },
    get depth() {
      return ready.length;
    },
  };
}

// A token bucket that lends: each call takes a token and says how long to wait for it.
function createBucket(burst: number, perSecond: number, clock: Clock): () => number {
  let tokens = burst;
  let refilledAt = clock.now();
  return () => {
    const now = clock.now();
    tokens = Math.min(burst, tokens + ((now - refilledAt) / 1000) * perSecond);
    refilledAt = now;
    tokens -= 1;
    return tokens >= 0 ? 0 : (-tokens / perSecond) * 1000;
  };
}
