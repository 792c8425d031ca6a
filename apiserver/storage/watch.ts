// ResourceStore.watch(): events from the ring, then live ones, in batches of whatever gathered since the last read.
import { WindlassError } from '../../lib/errors.ts';
import type { CollectionName } from '../resources/resource.ts';
import type { CacheFeed } from './cache-feed.ts';
import { presentEntries } from './collection-cache.ts';
import { collectionKey } from './entry.ts';
import type { RevisionReader } from './read-revision.ts';
import type { StoreBatch, StoreEvent, WatchOptions } from './resource-store.ts';
import { concerns, type Watcher } from './watchers.ts';

/** How often a quiet watch says how far it is, at most: those that began together must not all do so in one moment. */
const PROGRESS_MS = 15_000;
const PROGRESS_SPREAD_MS = 5_000;

/** Yields batches until `signal` fires; see the contract. */
export async function* watchCollection(
  { feed, reader }: { feed: CacheFeed; reader: RevisionReader },
  collection: CollectionName,
  options: WatchOptions,
  signal: AbortSignal,
): AsyncGenerator<StoreBatch> {
  await reader.fresh({ revision: options.revision });
  const cache = feed.collection(collectionKey(collection));

  let wake: () => void = () => undefined;
  const watcher: Watcher = {
    ...(options.namespace === undefined ? {} : { namespace: options.namespace }),
    ...(options.topic === undefined ? {} : { topic: options.topic }),
    pending: [],
    pendingBytes: 0,
    wake: () => wake(),
  };
  // Everything up to here is synchronous with the subscription, so that no event falls between the two.
  const past = options.revision === 0 ? undefined : cache.eventsSince(options.revision);
  if (options.revision !== 0 && !past) {
    throw new WindlassError('Expired', `too old resource version: ${options.revision} (${cache.floor})`);
  }
  const first: StoreEvent[] = past
    ? past.filter((event) => concerns(watcher, event))
    : presentEntries(cache, options).map((entry) => ({ type: 'ADDED', entry }));
  const unsubscribe = cache.subscribe(watcher);
  const firstRevision = feed.revision;
  const onAbort = (): void => wake();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    yield { events: first, revision: firstRevision };
    while (!signal.aborted) {
      if (watcher.failure) throw watcher.failure;
      if (watcher.pending.length === 0) {
        const woken = Promise.withResolvers<void>();
        wake = woken.resolve;
        const timer = setTimeout(woken.resolve, PROGRESS_MS - Math.random() * PROGRESS_SPREAD_MS);
        await woken.promise;
        clearTimeout(timer);
        if (signal.aborted) return;
        if (watcher.failure) throw watcher.failure;
        // A server that hears of nothing must not say that nothing happens.
        if (options.mustFollow && watcher.pending.length === 0) reader.requireFollowing();
      }
      const events = watcher.pending;
      watcher.pending = [];
      watcher.pendingBytes = 0;
      yield { events, revision: feed.revision };
    }
  } finally {
    unsubscribe();
    signal.removeEventListener('abort', onAbort);
  }
}
