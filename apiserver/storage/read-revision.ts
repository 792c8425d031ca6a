// How fresh a read is. "Most recent" = ask etcd for its revision (a quorum read, shared by all requests that wait for
// one) and wait until memory has it. etcd 3.4's progress notifications cannot be trusted, so when memory does not get there
// by itself, because a foreign key outside our prefix was written last, a write to a key of ours pulls it along.
import { setTimeout as sleep } from 'node:timers/promises';
import { WindlassError } from '../../lib/errors.ts';
import type { CacheFeed } from './cache-feed.ts';
import type { EtcdCaller } from './etcd-client.ts';
import type { ReadOptions } from './resource-store.ts';

const PATIENCE_MS = 100;
const LIMIT_MS = 3_000;
/** One read may run into its deadline, and the next one succeed. */
const PULSE: Pulse = { everyMs: 3_000, limitMs: 12_000 };

/** Of the pulse, one after the other. */
const MIN_FAILURES = 2;

/** How often it is seen to that memory is fresh, and how long it counts as such. */
interface Pulse {
  readonly everyMs: number;
  readonly limitMs: number;
}

export interface RevisionReader {
  /** Resolves when memory is as fresh as `options` demand. */
  fresh(options: ReadOptions): Promise<void>;
  /**
   * Throws Unavailable when memory has been neither fresh nor moving for a while: who watches must ask another server. One
   * that is late but moves on has heard of the store, and all its watches would come back to it.
   */
  requireFollowing(): void;
  /** Keeps an eye on that until `signal` fires. */
  run(signal: AbortSignal): Promise<void>;
}

interface RevisionReaderDeps {
  readonly call: EtcdCaller;
  readonly feed: CacheFeed;
  readonly prefix: string;
  readonly pulse?: Pulse;
}

/** Reads the revision of the store behind `feed`. */
export function createRevisionReader({ call, feed, prefix, pulse = PULSE }: RevisionReaderDeps): RevisionReader {
  const syncKey = Buffer.from(`${prefix}sync`);
  let next: Promise<number> | undefined;
  let running: Promise<number> | undefined;
  let pulling: Promise<unknown> | undefined;
  /** When memory was last seen to be fresh, or to move on. */
  let freshAt: number | undefined;
  let failures = 0;

  const readRevision = async (): Promise<number> => {
    const { header } = await call('get', (etcd) => etcd.kv.range({ key: syncKey, count_only: true, limit: 1 }));
    return Number(header.revision);
  };

  /** A read that starts after this call: joins the one waiting to start, never the one under way. */
  const newestRevision = (): Promise<number> => {
    if (!running) {
      running = readRevision().finally(() => {
        running = undefined;
      });
      return running;
    }
    next ??= running
      .catch(() => undefined)
      .then(() => {
        next = undefined;
        return newestRevision();
      });
    return next;
  };

  const pull = (): Promise<unknown> => {
    pulling ??= call('sync', (etcd) => etcd.kv.put({ key: syncKey, value: Buffer.from('1') })).finally(() => {
      pulling = undefined;
    });
    return pulling;
  };

  const fresh = async ({ revision }: ReadOptions): Promise<void> => {
    if (!feed.loaded) throw new WindlassError('Unavailable', 'the store is not loaded yet');
    if (revision === 0) return;
    if (revision !== undefined) {
      if (await feed.waitFor(revision, LIMIT_MS)) return;
      throw new WindlassError('Timeout', `Too large resource version: ${revision}, current: ${feed.revision}`, {
        details: { causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }] },
      });
    }
    const newest = await newestRevision();
    if (await feed.waitFor(newest, PATIENCE_MS)) return;
    await pull();
    if (await feed.waitFor(newest, LIMIT_MS)) return;
    throw new WindlassError('Timeout', 'the memory of this server is behind the store');
  };

  return {
    fresh,
    requireFollowing() {
      // Time alone says nothing: a process that has too much to do looks late, and all its watches would end for that.
      if (freshAt === undefined || failures < MIN_FAILURES || performance.now() - freshAt < pulse.limitMs) return;
      throw new WindlassError('Unavailable', 'this server cannot follow the store');
    },
    async run(signal) {
      await feed.whenLoaded(signal).catch(() => undefined);
      freshAt = performance.now();
      while (!signal.aborted) {
        const before = feed.revision;
        // Why it fails, the feed says.
        const isFresh = await fresh({}).then(
          () => true,
          () => false,
        );
        if (isFresh || feed.revision > before) {
          freshAt = performance.now();
          failures = 0;
        } else failures += 1;
        await sleep(pulse.everyMs, undefined, { signal }).catch(() => undefined);
      }
    },
  };
}
