// The contract between the API server and whatever keeps its objects.
//
// Vocabulary. A *collection* holds all objects of one stored kind (`windlass.dev/containers`), whatever API versions
// serve it. An *entry* is one object at one revision. A *revision* is a number that grows with every write to any
// collection; on the wire it is `resourceVersion`, in decimal, and two revisions of a store can be compared.
//
// What a caller may rely on:
// - A write that resolved is durable, and every read without a resourceVersion that starts afterwards sees it, also
//   through another server on the same store. A write that rejects with Unavailable or Timeout may or may not have
//   happened; one that rejects with any other reason has not.
// - Entries are shared between all readers and must not be changed; `clone()` gives a private copy.
// - Watches of one collection deliver events in the order of their revisions, each exactly once, none left out between
//   the revision asked for and the end of the stream. A stream that cannot keep that promise ends with Expired.
// - No call waits for a store that is away: it fails with Unavailable (or Timeout) within a few seconds.
import type { CollectionName, StoredObject } from '../resources/resource.ts';

export interface Entry {
  /** Empty for cluster-scoped objects. */
  readonly namespace: string;
  readonly name: string;
  readonly revision: number;
  /** The object as JSON, metadata.resourceVersion included. */
  readonly bytes: Buffer;
  /** The same, parsed at first use; shared, so read-only by agreement. */
  readonly object: StoredObject;
  /** A private copy of the object. */
  clone(): StoredObject;
  /** Gives up the parsed form, which is made again when it is asked for: of old states, which few look at. */
  release?(): void;
}

/** How fresh a read must be; absent revision = most recent, 0 = whatever is at hand. */
export interface ReadOptions {
  readonly revision?: number;
  readonly match?: 'Exact' | 'NotOlderThan';
  readonly signal?: AbortSignal;
}

export interface ListOptions extends ReadOptions {
  readonly namespace?: string;
  /** 0 or absent = everything. */
  readonly limit?: number;
  readonly continueToken?: string;
  /** The one object to look at: within `namespace`, or of a cluster-scoped collection. */
  readonly name?: string;
  /** Applied before the limit counts. */
  readonly filter?: (entry: Entry) => boolean;
}

export interface ListResult {
  readonly entries: readonly Entry[];
  readonly revision: number;
  /** Present when more entries follow. */
  readonly continueToken?: string;
  /** How many follow; unknown when a filter is used. */
  readonly remaining?: number;
}

/** What an update function decides for the object it was shown. */
export type Change =
  | { readonly kind: 'put'; readonly object: StoredObject }
  | { readonly kind: 'delete' }
  /** Leave it as it is. */
  | { readonly kind: 'keep' };

export interface ChangeResult {
  readonly kind: Change['kind'];
  /** The entry after the change; for a deletion its last state with the revision of the deletion. */
  readonly entry: Entry;
}

export interface StoreEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  /** DELETED: the last state, with the revision of the deletion. */
  readonly entry: Entry;
  /** The state before; absent for ADDED. */
  readonly previous?: Entry;
}

/** A batch of events, or just the news that everything up to `revision` was delivered. */
export interface StoreBatch {
  readonly events: readonly StoreEvent[];
  readonly revision: number;
}

/** Events sorted by a value: which objects a watcher has to hear of is then a look-up, not a question to each watcher. */
export interface EventIndex {
  /** The values that `event` is filed under: of the entry as it is, and as it was. None: it concerns nobody. */
  valuesOf(event: StoreEvent): readonly string[];
}

export interface WatchTopic {
  /** The same object for all watchers that ask by the same field. */
  readonly index: EventIndex;
  readonly value: string;
}

export interface WatchOptions {
  readonly namespace?: string;
  /** Only events that the index files under the value; the caller filters the objects at hand. */
  readonly topic?: WatchTopic;
  /** Of the objects at hand, only the one of this name; the caller filters what follows. */
  readonly name?: string;
  /** Deliver what happened after this revision. 0 = the state at hand as ADDED events first, then what follows. */
  readonly revision: number;
  /**
   * For a reader that can ask another server: throws Unavailable when the store has been away for a while, and ends a quiet
   * watch with it then.
   */
  readonly mustFollow?: boolean;
}

export interface ResourceStore {
  /** The entry, or undefined when it does not exist. */
  get(collection: CollectionName, namespace: string, name: string, options?: ReadOptions): Promise<Entry | undefined>;

  /**
   * Entries in the order of their keys (namespace, then name). Pages of one list show one revision. An old revision that
   * was compacted rejects with Expired, whose details carry `continueToken` for going on at the present revision.
   */
  list(collection: CollectionName, options?: ListOptions): Promise<ListResult>;

  /** Stores a new object; rejects with AlreadyExists. `ttlSeconds`: the store removes it by itself after that time. */
  create(collection: CollectionName, object: StoredObject, options?: { readonly ttlSeconds?: number }): Promise<Entry>;

  /**
   * The only way to modify or remove. `change` is shown the entry and decides; it may be called several times, as it
   * may first see a stale copy and is asked again when the write lost a race. What it throws is thrown to the caller, once
   * it was thrown for the newest state. A put equal to what is stored writes nothing. Rejects with NotFound when absent.
   */
  guaranteedUpdate(
    collection: CollectionName,
    namespace: string,
    name: string,
    change: (entry: Entry) => Change,
    options?: { readonly ttlSeconds?: number },
  ): Promise<ChangeResult>;

  /**
   * Batches of events until `signal` fires. Rejects with Expired when the revision is too old, when the reader is too
   * slow, or when the store lost continuity; the reader lists again then.
   */
  watch(collection: CollectionName, options: WatchOptions, signal: AbortSignal): AsyncIterable<StoreBatch>;

  /** The newest revision the store has acknowledged to anyone, once this server's memory has caught up with it. */
  currentRevision(signal?: AbortSignal): Promise<number>;

  /** Number of objects per collection, for metrics. */
  counts(): ReadonlyMap<string, number>;

  /** Whether memory is loaded and reads can be served. */
  isReady(): boolean;

  /** Resolves when isReady() first holds. */
  whenReady(signal?: AbortSignal): Promise<void>;

  /** One round trip to the store; rejects when it is away. */
  ping(): Promise<void>;

  /** Keeps memory up to date and old revisions compacted until `signal` fires. */
  run(signal: AbortSignal): Promise<void>;
}
