// ResourceStore over etcd: writes are transactions on one key, reads come from memory once it is known to be as
// fresh as the read demands.
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../../lib/clock.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { CollectionName } from '../resources/resource.ts';
import { createCacheFeed } from './cache-feed.ts';
import { runCompaction } from './compaction.ts';
import { collectionKey, createEntry, encodeObject, entryAtRevision, hasLengthOf, objectKey } from './entry.ts';
import { createEtcdCaller, type EtcdClient } from './etcd-client.ts';
import { listEntries } from './list.ts';
import { createRevisionReader } from './read-revision.ts';
import type { Change, ChangeResult, Entry, ResourceStore } from './resource-store.ts';
import { createTtlLeases } from './ttl-leases.ts';
import { watchCollection } from './watch.ts';

const MAX_ATTEMPTS = 100;

export interface EtcdStoreOptions {
  readonly client: EtcdClient;
  /** Path all keys start with, e.g. `/windlass`. */
  readonly prefix: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called with the duration of every etcd request. */
  readonly observe?: (operation: string, seconds: number) => void;
  readonly compactionIntervalMs?: number;
}

/** A store that serves reads once run() has loaded it. */
export function createEtcdStore(options: EtcdStoreOptions): ResourceStore {
  const { client, clock, log } = options;
  const prefix = `${options.prefix.replace(/\/+$/, '')}/`;
  const call = createEtcdCaller(client, options.observe ?? (() => undefined));
  const feed = createCacheFeed({ client, call, prefix, log });
  const leaseFor = createTtlLeases(call, clock);
  const reader = createRevisionReader({ call, feed, prefix });

  const keyOf = (collection: CollectionName, namespace: string, name: string): Buffer =>
    Buffer.from(`${prefix}registry/${collectionKey(collection)}/${objectKey(namespace, name)}`);
  const cacheOf = (collection: CollectionName) => feed.collection(collectionKey(collection));

  /** The entry as the store has it now, past memory. */
  async function readThrough(key: Buffer, namespace: string, name: string): Promise<Entry | undefined> {
    const { kvs } = await call('get', (etcd) => etcd.kv.range({ key }));
    const kv = kvs[0];
    return kv ? createEntry(namespace, name, Number(kv.mod_revision), kv.value) : undefined;
  }

  /** Puts `value`, or deletes, unless the entry moved on; then answers the newer state instead. */
  async function tryChange(
    key: Buffer,
    entry: Entry,
    kind: 'put' | 'delete',
    value: Buffer | undefined,
    ttlSeconds?: number,
  ): Promise<{ done: ChangeResult } | { newer: Entry | undefined }> {
    const lease = value && ttlSeconds !== undefined ? { lease: await leaseFor(ttlSeconds) } : {};
    const response = await call(kind === 'put' ? 'update' : 'delete', (etcd) =>
      etcd.kv.txn({
        compare: [{ key, target: 'Mod', result: 'Equal', mod_revision: String(entry.revision) }],
        success: [value ? { request_put: { key, value, ...lease } } : { request_delete_range: { key } }],
        failure: [{ request_range: { key } }],
      }),
    );
    const { namespace, name } = entry;
    if (response.succeeded) {
      const revision = Number(response.header.revision);
      const after = value ? createEntry(namespace, name, revision, value) : entryAtRevision(entry, revision);
      return { done: { kind, entry: after } };
    }
    const kv = response.responses[0]?.response_range?.kvs[0];
    return { newer: kv ? createEntry(namespace, name, Number(kv.mod_revision), kv.value) : undefined };
  }

  return {
    async get(collection, namespace, name, read = {}) {
      await reader.fresh(read);
      return cacheOf(collection).get(objectKey(namespace, name));
    },

    list: (collection, list = {}) => listEntries({ call, feed, prefix, reader }, collection, list),

    async create(collection, object, { ttlSeconds } = {}) {
      const { namespace = '', name } = object.metadata;
      const key = keyOf(collection, namespace, name);
      const value = encodeObject(object);
      const lease = ttlSeconds === undefined ? {} : { lease: await leaseFor(ttlSeconds) };
      const response = await call('create', (etcd) =>
        etcd.kv.txn({
          compare: [{ key, target: 'Version', result: 'Equal', version: '0' }],
          success: [{ request_put: { key, value, ...lease } }],
          failure: [],
        }),
      );
      if (!response.succeeded)
        throw new WindlassError('AlreadyExists', `${collection.plural} "${name}" already exists`);
      return createEntry(namespace, name, Number(response.header.revision), value);
    },

    async guaranteedUpdate(collection, namespace, name, change, { ttlSeconds } = {}) {
      const key = keyOf(collection, namespace, name);
      let entry = feed.loaded ? cacheOf(collection).get(objectKey(namespace, name)) : undefined;
      let isNewest = false;
      if (!entry) {
        entry = await readThrough(key, namespace, name);
        isNewest = true;
      }
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
        if (!entry) throw new WindlassError('NotFound', `${collection.plural} "${name}" not found`);
        let decision: Change;
        let value: Buffer | undefined;
        try {
          decision = change(entry);
          if (decision.kind === 'put') {
            value = encodeObject(decision.object);
            if (hasLengthOf(entry, value) && isSame(decision.object, value, entry)) decision = { kind: 'keep' };
          }
        } catch (error) {
          if (isNewest) throw error;
          decision = { kind: 'keep' };
        }
        // Neither "nothing to do" nor a refusal counts when it was decided on a copy that may be old.
        if (decision.kind === 'keep') {
          if (isNewest) return { kind: 'keep', entry };
          const newest = await readThrough(key, namespace, name);
          isNewest = true;
          entry = newest;
          continue;
        }
        const result = await tryChange(key, entry, decision.kind, value, ttlSeconds);
        if ('done' in result) return result.done;
        entry = result.newer;
        isNewest = true;
      }
      throw new WindlassError('Conflict', `${collection.plural} "${name}" changes too quickly to be updated`);
    },

    watch(collection, watch, signal) {
      if (watch.mustFollow) reader.requireFollowing();
      return watchCollection({ feed, reader }, collection, watch, signal);
    },
    currentRevision: async () => {
      await reader.fresh({});
      return feed.revision;
    },
    counts: () => new Map([...feed.collections()].map(([name, cache]) => [name, cache.size])),
    isReady: () => feed.loaded,
    whenReady: (signal) => feed.whenLoaded(signal),
    async ping() {
      await call('get', (etcd) => etcd.kv.range({ key: Buffer.from(prefix), count_only: true, limit: 1 }));
    },
    async run(signal) {
      const { compactionIntervalMs: intervalMs } = options;
      const compaction = { call, prefix, clock, log, ...(intervalMs === undefined ? {} : { intervalMs }) };
      await Promise.all([feed.run(signal), reader.run(signal), runCompaction(compaction, signal)]);
    },
  };
}

function isSame(object: Parameters<typeof encodeObject>[0], value: Buffer, entry: Entry): boolean {
  if (value.equals(encodeObject(entry.object))) return true;
  // The order of keys means nothing: a PUT from a file that was sorted must not count as a change.
  const { resourceVersion: _old, ...metadata } = entry.object.metadata;
  const { resourceVersion: _new, ...wanted } = object.metadata;
  return isDeepStrictEqual({ ...object, metadata: wanted }, { ...entry.object, metadata });
}
