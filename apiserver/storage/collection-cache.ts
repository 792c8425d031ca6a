// One collection in memory: its entries in key order, the last events, and who watches.
import { objectKey } from './entry.ts';
import type { Entry, StoreEvent } from './resource-store.ts';
import { createWatchers, type Watcher } from './watchers.ts';

/** Events kept for watches that start in the past, in number and in bytes of their objects: these may have 1.5 MB each. */
const RING_SIZE = 8_192;
const RING_BYTES = 64 * 1024 * 1024;
/** The newest of them whose former states are kept parsed. */
const PARSED_EVENTS = 512;

export interface CollectionCache {
  readonly size: number;
  /** Revision of the last change; 0 when nothing changed since the cache was loaded at `floor`. */
  readonly lastRevision: number;
  get(key: string): Entry | undefined;
  /** Entries whose key starts with `prefix` and is greater than `after`. */
  range(prefix: string, after?: string): Entry[];
  /** Replaces everything by what the store holds at `revision`; watchers lost continuity and end with Expired. */
  load(entries: readonly Entry[], revision: number): void;
  apply(event: StoreEvent): void;
  /** Events after this revision are known. */
  readonly floor: number;
  /** Events after `revision`, or undefined when they are not all known any more. */
  eventsSince(revision: number): StoreEvent[] | undefined;
  subscribe(watcher: Watcher): () => void;
}

/** An empty collection whose history is known from `floor` on. */
export function createCollectionCache(initialFloor: number): CollectionCache {
  let entries = new Map<string, Entry>();
  let keys: string[] = [];
  let ring: StoreEvent[] = [];
  let ringBytes = 0;
  let floor = initialFloor;
  let lastRevision = initialFloor;
  const watchers = createWatchers();

  /** Halves what is kept, now and then: to drop the oldest at every event would move all others. */
  const remember = (event: StoreEvent): void => {
    ring.push(event);
    ringBytes += event.entry.bytes.length;
    // By now those who watch have read it.
    ring.at(-PARSED_EVENTS)?.previous?.release?.();
    if (ring.length < RING_SIZE * 2 && ringBytes < RING_BYTES * 2) return;
    let start = ring.length;
    let keptBytes = 0;
    while (start > 0 && ring.length - start < RING_SIZE) {
      const bytes = (ring[start - 1] as StoreEvent).entry.bytes.length;
      if (keptBytes + bytes > RING_BYTES) break;
      keptBytes += bytes;
      start -= 1;
    }
    floor = ring[start - 1]?.entry.revision ?? floor;
    ring = ring.slice(start);
    ringBytes = keptBytes;
  };

  return {
    get size() {
      return entries.size;
    },
    get lastRevision() {
      return lastRevision;
    },
    get floor() {
      return floor;
    },
    get: (key) => entries.get(key),
    range(prefix, after = '') {
      const found: Entry[] = [];
      const from = after > prefix ? after : prefix;
      let index = lowerBound(keys, from);
      if (after !== '' && keys[index] === after) index += 1;
      for (; index < keys.length; index += 1) {
        const key = keys[index] as string;
        if (!key.startsWith(prefix)) break;
        found.push(entries.get(key) as Entry);
      }
      return found;
    },
    load(loaded, revision) {
      entries = new Map(loaded.map((entry) => [objectKey(entry.namespace, entry.name), entry]));
      keys = [...entries.keys()].toSorted(compareKeys);
      ring = [];
      ringBytes = 0;
      floor = revision;
      lastRevision = revision;
      watchers.failAll('the watch lost continuity with the store');
    },
    apply(event) {
      const key = objectKey(event.entry.namespace, event.entry.name);
      if (event.type === 'DELETED') {
        entries.delete(key);
        const index = lowerBound(keys, key);
        if (keys[index] === key) keys.splice(index, 1);
      } else {
        if (!entries.has(key)) keys.splice(lowerBound(keys, key), 0, key);
        entries.set(key, event.entry);
      }
      lastRevision = event.entry.revision;
      remember(event);
      watchers.publish(event);
    },
    eventsSince(revision) {
      if (revision < floor) return undefined;
      let index = ring.length;
      while (index > 0 && (ring[index - 1] as StoreEvent).entry.revision > revision) index -= 1;
      return ring.slice(index);
    },
    subscribe: watchers.add,
  };
}

/** The entries of a namespace, or of all, or one by name: what is asked for by name must not cost a walk over all. */
export function presentEntries(
  cache: CollectionCache,
  { namespace, name, after }: { namespace?: string; name?: string; after?: string | undefined },
): readonly Entry[] {
  const scope = namespace ? `${namespace}/` : '';
  if (name === undefined) return cache.range(scope, after);
  const entry = cache.get(scope + name);
  return entry ? [entry] : [];
}

// Keys are ASCII, so the order of UTF-16 units is the byte order of the store.
function compareKeys(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as string) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
