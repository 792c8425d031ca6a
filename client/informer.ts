// A cache of one kind that follows the server: list, then watch, for as long as the process lives. It has no state in
// which it gives up: a server that is away, slow, restarted or compacted only makes the cache older, and that is logged
// and counted. Handlers get every difference of the cache in order, never an event that the cache does not show.
import type { KindName, KubernetesObject } from '../crds/kind.ts';
import { backoffDelayMs, type BackoffOptions } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { reasonOf } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { RunPart } from '../lib/run-all.ts';
import type { KindClient, ListOptions, WatchEvent } from './client.ts';
import type { InformerMetrics } from './informer-metrics.ts';
import { pause } from './pause.ts';
import { createObjectCache, objectKey, type Indexer, type Lister } from './object-cache.ts';

export interface Change<T> {
  readonly key: string;
  /** The object as it is now, or as it last was when `deleted`. Frozen. */
  readonly object: T;
  /** As the cache had it before; undefined for one that is new to the cache. */
  readonly previous: T | undefined;
  readonly deleted: boolean;
}

export interface Informer<T extends KubernetesObject> extends Lister<T>, RunPart {
  readonly kind: KindName;
  /** Whether the cache has held a complete list once. */
  hasSynced(): boolean;
  /** Resolves once hasSynced(); rejects with AbortError when `signal` fires first. */
  synced(signal: AbortSignal): Promise<void>;
  /** Calls `handler` for each change, at once for what is already cached. It must not throw or wait. Returns how to stop. */
  subscribe(handler: (change: Change<T>) => void): () => void;
  /**
   * Opens the watch anew, where it was, when it was opened before `openedBeforeMs`: its connection may have been cut
   * without a word, and would look alive until the transport gives it up.
   */
  reconnect(openedBeforeMs: number): void;
}

export interface InformerOptions<T> extends ListOptions {
  readonly log: Logger;
  readonly clock: Clock;
  readonly indexes?: Readonly<Record<string, Indexer<T>>>;
  /** Reports every cached object as changed this often; never unless said. */
  readonly resyncMs?: number;
  readonly backoff?: BackoffOptions;
  readonly metrics?: InformerMetrics;
}

const BACKOFF: BackoffOptions = { initialMs: 100, maxMs: 10_000, jitter: 0.5 };
/** A watch that ends sooner than this counts as a failure, so that a server that closes at once is not hammered. */
const SHORT_WATCH_MS = 1_000;
/** Whatever keeps failing, a fresh list may get out of it. */
const RELIST_AFTER_FAILURES = 5;

/** An informer for what `client` and the selectors of `options` say; it does nothing until run(). */
export function createInformer<T extends KubernetesObject>(
  client: KindClient<T>,
  options: InformerOptions<T>,
): Informer<T> {
  const { kind } = client;
  const { clock } = options;
  const log = options.log.child({ informer: kind.plural });
  const backoff = options.backoff ?? BACKOFF;
  const cache = createObjectCache<T>(options.indexes);
  const handlers = new Set<(change: Change<T>) => void>();
  const synced = Promise.withResolvers<void>();
  let hasSynced = false;

  const notify = (change: Change<T>): void => {
    for (const handler of handlers) callHandler(handler, change);
  };
  const callHandler = (handler: (change: Change<T>) => void, change: Change<T>): void => {
    try {
      handler(change);
    } catch (err) {
      log.error({ err, key: change.key }, 'change handler threw');
    }
  };
  const store = (object: T): void => {
    const previous = cache.put(object);
    const version = object.metadata.resourceVersion;
    if (previous && version !== undefined && previous.metadata.resourceVersion === version) return;
    notify({ key: objectKey(object), object, previous, deleted: false });
  };
  const drop = (key: string, last?: T): void => {
    const previous = cache.remove(key);
    if (previous) notify({ key, object: last ?? previous, previous, deleted: true });
  };

  /** Makes the cache equal to the server's list; returns the version to watch from. */
  const relist = async (signal: AbortSignal): Promise<string> => {
    const { items, resourceVersion } = await client.list(options, signal);
    const gone = new Set(cache.keys());
    for (const item of items) gone.delete(objectKey(item));
    for (const key of gone) drop(key);
    for (const item of items) store(item);
    options.metrics?.listed(kind.plural, cache.size());
    if (!hasSynced) {
      hasSynced = true;
      synced.resolve();
    }
    return resourceVersion;
  };

  const apply = ({ type, object }: WatchEvent<T>): void => {
    if (type === 'DELETED') drop(objectKey(object), object);
    else if (type !== 'BOOKMARK') store(object);
    options.metrics?.observed(kind.plural, type, cache.size());
  };

  /** Follows the server until it fails or `signal` fires; `progress` hears of each version that is safely cached. */
  const follow = async (from: string, progress: (version: string) => void, signal: AbortSignal): Promise<void> => {
    let version = from;
    for (;;) {
      const startedAt = clock.now();
      let events = 0;
      for await (const event of client.watch({ ...options, resourceVersion: version }, signal)) {
        apply(event);
        events += 1;
        version = event.object.metadata.resourceVersion ?? version;
        progress(version);
      }
      if (signal.aborted) return;
      if (events === 0 && clock.now() - startedAt < SHORT_WATCH_MS) throw new Error('watch ended at once');
    }
  };

  let attempt = { openedAt: 0, cut: new AbortController() };

  const run = async (stop: AbortSignal): Promise<void> => {
    let version: string | undefined;
    let failures = 0;
    while (!stop.aborted) {
      const { cut } = (attempt = { openedAt: clock.now(), cut: new AbortController() });
      const signal = AbortSignal.any([stop, cut.signal]);
      try {
        version ??= await relist(signal);
        await follow(
          version,
          (seen) => {
            version = seen;
            failures = 0;
          },
          signal,
        );
      } catch (err) {
        if (stop.aborted) return;
        if (cut.signal.aborted) continue;
        failures += 1;
        options.metrics?.failed(kind.plural);
        if (!mayContinue(err) || failures % RELIST_AFTER_FAILURES === 0) version = undefined;
        const retryInMs = backoffDelayMs(failures, backoff);
        // One failure is routine (a restarted server); a run of them is worth a line now and then.
        const level = failures % RELIST_AFTER_FAILURES === 0 ? 'warn' : 'debug';
        log[level]({ err, failures, retryInMs }, 'list or watch failed');
        await pause(clock, retryInMs, signal);
      }
    }
  };

  const resync = async (everyMs: number, signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      await pause(clock, everyMs, signal);
      if (!signal.aborted)
        for (const object of cache.list()) notify({ key: objectKey(object), object, previous: object, deleted: false });
    }
  };

  return {
    kind,
    name: `informer ${kind.plural}`,
    get: cache.get,
    list: cache.list,
    byIndex: cache.byIndex,
    hasSynced: () => hasSynced,
    synced: (signal) => raceAbort(synced.promise, signal),
    subscribe(handler) {
      handlers.add(handler);
      for (const object of cache.list()) {
        callHandler(handler, { key: objectKey(object), object, previous: undefined, deleted: false });
      }
      return () => handlers.delete(handler);
    },
    reconnect(openedBeforeMs) {
      if (attempt.openedAt < openedBeforeMs) attempt.cut.abort();
    },
    async run(signal) {
      await Promise.all([run(signal), ...(options.resyncMs === undefined ? [] : [resync(options.resyncMs, signal)])]);
    },
  };
}

/**
 * Whether the watch can go on where it was: after a reset connection, yes; after anything the server said (expired, a
 * version from another life of the store, a kind that was gone meanwhile), no.
 */
function mayContinue(error: unknown): boolean {
  const reason = reasonOf(error);
  return reason === undefined || reason === 'Unavailable' || reason === 'TooManyRequests';
}

async function raceAbort(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(new DOMException('the wait was aborted', 'AbortError'));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
