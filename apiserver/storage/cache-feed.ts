// Keeps every collection in memory by one etcd watch over the whole prefix: load at a revision, then follow. A lost
// stream is resumed after the last revision seen; when that is compacted away, or the store went back in time (restored
// from a backup), everything is loaded again and all watchers are told to list anew.
import { setTimeout as sleep } from 'node:timers/promises';
import { isExpired, messageOf, WindlassError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { createCollectionCache, type CollectionCache } from './collection-cache.ts';
import { createEntry, entryAtRevision, objectKey, parseKey } from './entry.ts';
import { translateEtcdError, type EtcdClient, type EtcdCaller } from './etcd-client.ts';
import type { Entry } from './resource-store.ts';

const PAGE_SIZE = 2_000;
const RETRY_MS = 200;

export interface CacheFeed {
  collection(key: string): CollectionCache;
  collections(): ReadonlyMap<string, CollectionCache>;
  /** Everything up to this revision is in memory. */
  readonly revision: number;
  /** Loaded, and the stream stands or is being resumed. */
  readonly loaded: boolean;
  whenLoaded(signal?: AbortSignal): Promise<void>;
  /** Resolves true once memory holds `revision`, false after `timeoutMs`. */
  waitFor(revision: number, timeoutMs: number): Promise<boolean>;
  run(signal: AbortSignal): Promise<void>;
}

interface EtcdEvent {
  readonly type: 'Put' | 'Delete';
  readonly kv: { readonly key: Buffer; readonly value: Buffer; readonly mod_revision: string };
}
interface EtcdWatchResponse {
  readonly canceled: boolean;
  readonly compact_revision: string;
  readonly cancel_reason: string;
  readonly events: readonly EtcdEvent[];
}

export interface CacheFeedOptions {
  readonly client: EtcdClient;
  readonly call: EtcdCaller;
  /** With a slash at its end. */
  readonly prefix: string;
  readonly log: Logger;
}

/** A feed that does nothing until run(). */
export function createCacheFeed({ client, call, prefix, log }: CacheFeedOptions): CacheFeed {
  const registryPrefix = `${prefix}registry/`;
  const range = { key: Buffer.from(prefix), range_end: prefixEnd(prefix) };
  const collections = new Map<string, CollectionCache>();
  const waiters = new Set<{ revision: number; resolve: () => void }>();
  let revision = 0;
  let floor = 0;
  let loaded = false;
  let clusterId = '';
  const loadedGate = Promise.withResolvers<void>();

  const collection = (key: string): CollectionCache => {
    let cache = collections.get(key);
    if (!cache) {
      cache = createCollectionCache(floor);
      collections.set(key, cache);
    }
    return cache;
  };

  const advance = (to: number): void => {
    revision = Math.max(revision, to);
    for (const waiter of waiters) {
      if (waiter.revision <= revision) {
        waiters.delete(waiter);
        waiter.resolve();
      }
    }
  };

  async function load(): Promise<void> {
    const byCollection = new Map<string, Entry[]>();
    let at = 0;
    let key: Buffer = Buffer.from(registryPrefix);
    for (;;) {
      const page = await call('list', (etcd) =>
        etcd.kv.range({
          key,
          range_end: prefixEnd(registryPrefix),
          limit: PAGE_SIZE,
          ...(at > 0 ? { revision: at } : {}),
        }),
      );
      if (at === 0) {
        at = Number(page.header.revision);
        clusterId = page.header.cluster_id;
      }
      for (const kv of page.kvs) {
        const parsed = parseKey(kv.key.toString().slice(registryPrefix.length));
        if (!parsed) continue;
        const list = byCollection.get(parsed.collection) ?? [];
        list.push(createEntry(parsed.namespace, parsed.name, Number(kv.mod_revision), kv.value));
        byCollection.set(parsed.collection, list);
      }
      const last = page.kvs.at(-1);
      if (!page.more || !last) break;
      key = Buffer.concat([last.key, Buffer.from([0])]);
    }
    floor = at;
    for (const name of byCollection.keys()) collection(name);
    for (const [name, cache] of collections) cache.load(byCollection.get(name) ?? [], at);
    revision = 0;
    advance(at);
    loaded = true;
    loadedGate.resolve();
    log.info({ revision: at, collections: collections.size }, 'loaded the store into memory');
  }

  function apply(event: EtcdEvent): void {
    const eventRevision = Number(event.kv.mod_revision);
    const key = event.kv.key.toString();
    const parsed = key.startsWith(registryPrefix) ? parseKey(key.slice(registryPrefix.length)) : undefined;
    if (parsed) {
      const cache = collection(parsed.collection);
      const previous = cache.get(objectKey(parsed.namespace, parsed.name));
      if (event.type === 'Delete') {
        if (previous) cache.apply({ type: 'DELETED', entry: entryAtRevision(previous, eventRevision), previous });
      } else {
        const entry = createEntry(parsed.namespace, parsed.name, eventRevision, event.kv.value);
        cache.apply(previous ? { type: 'MODIFIED', entry, previous } : { type: 'ADDED', entry });
      }
    }
    advance(eventRevision);
  }

  /** Follows the store from the present revision; rejects when the stream breaks. */
  async function follow(signal: AbortSignal): Promise<never> {
    const stream = await client.watchClient.watch();
    const broken = Promise.withResolvers<never>();
    const onAbort = (): void => broken.reject(signal.reason);
    let isOver = false;
    signal.addEventListener('abort', onAbort, { once: true });
    stream.on('data', (item) => {
      // A cancelled stream may still hold messages; its successor brings them again.
      if (isOver) return;
      const response = item as unknown as EtcdWatchResponse;
      try {
        if (response.canceled) {
          const compacted = Number(response.compact_revision) > 0;
          throw new WindlassError(compacted ? 'Expired' : 'Unavailable', `watch cancelled: ${response.cancel_reason}`);
        }
        for (const event of response.events) apply(event);
      } catch (error) {
        isOver = true;
        broken.reject(error);
      }
    });
    stream.on('error', (error) => broken.reject(translateEtcdError(error)));
    stream.on('end', () => broken.reject(new WindlassError('Unavailable', 'the watch stream ended')));
    try {
      stream.write({ create_request: { ...range, start_revision: String(revision + 1) } } as never);
      return await broken.promise;
    } finally {
      isOver = true;
      signal.removeEventListener('abort', onAbort);
      stream.cancel();
    }
  }

  /** A store whose revision lies before ours is another store, or an older state of it. */
  async function checkContinuity(): Promise<void> {
    const { header } = await call('get', (etcd) => etcd.kv.range({ key: range.key, limit: 1, count_only: true }));
    if (header.cluster_id !== clusterId) throw new WindlassError('Expired', 'another store has taken the place');
    if (Number(header.revision) < revision) throw new WindlassError('Expired', 'the store went back in time');
  }

  return {
    collection,
    collections: () => collections,
    get revision() {
      return revision;
    },
    get loaded() {
      return loaded;
    },
    async whenLoaded(signal) {
      if (!signal) return loadedGate.promise;
      signal.throwIfAborted();
      const aborted = Promise.withResolvers<never>();
      const onAbort = (): void => aborted.reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        await Promise.race([loadedGate.promise, aborted.promise]);
      } finally {
        signal.removeEventListener('abort', onAbort);
      }
    },
    async waitFor(target, timeoutMs) {
      if (revision >= target) return true;
      const reached = Promise.withResolvers<boolean>();
      const waiter = { revision: target, resolve: () => reached.resolve(true) };
      waiters.add(waiter);
      const timer = setTimeout(() => reached.resolve(false), timeoutMs);
      try {
        return await reached.promise;
      } finally {
        clearTimeout(timer);
        waiters.delete(waiter);
      }
    },
    async run(signal) {
      let complained = false;
      while (!signal.aborted) {
        try {
          if (!loaded) await load();
          else await checkContinuity();
          complained = false;
          await follow(signal);
        } catch (error) {
          if (signal.aborted) return;
          if (isExpired(error)) loaded = false;
          if (!complained) log.warn({ err: messageOf(error) }, 'lost the store, trying again');
          complained = true;
          await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
        }
      }
    },
  };
}

/** The end of the range of all keys that start with `prefix`. */
export function prefixEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1] = (end.at(-1) as number) + 1;
  return end;
}
