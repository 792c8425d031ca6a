import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CacheFeed } from '../../../../apiserver/storage/cache-feed.ts';
import { createCollectionCache } from '../../../../apiserver/storage/collection-cache.ts';
import type { EtcdCaller } from '../../../../apiserver/storage/etcd-client.ts';
import { createRevisionReader } from '../../../../apiserver/storage/read-revision.ts';
import { watchCollection } from '../../../../apiserver/storage/watch.ts';
import { WindlassError } from '../../../../lib/errors.ts';
import { waitFor } from '../../../support/wait.ts';

const THINGS = { group: '', plural: 'things' };

/** A reader over memory that is at revision 5, while etcd is away or not. */
function makeReader() {
  const cache = createCollectionCache(5);
  const etcd = { isAway: false };
  const feed = {
    loaded: true,
    revision: 5,
    whenLoaded: async () => undefined,
    waitFor: async () => true,
    collection: () => cache,
  } as unknown as CacheFeed;
  const call = (async () => {
    if (etcd.isAway) throw new WindlassError('Unavailable', 'no leader');
    return { header: { revision: '5' } };
  }) as unknown as EtcdCaller;
  const reader = createRevisionReader({ call, feed, prefix: '/w/', pulse: { everyMs: 1, limitMs: 200 } });
  const isFollowing = (): boolean => {
    try {
      reader.requireFollowing();
      return true;
    } catch (error) {
      assert.equal((error as WindlassError).reason, 'Unavailable');
      return false;
    }
  };
  return { call, etcd, feed, reader, isFollowing };
}

test('requireFollowing() holds until etcd has been away for a while, and again when it is back', async () => {
  const { etcd, reader, isFollowing } = makeReader();
  assert.equal(isFollowing(), true);
  const stop = new AbortController();
  const running = reader.run(stop.signal);
  etcd.isAway = true;
  await waitFor(() => !isFollowing(), { what: 'the end of patience' });
  etcd.isAway = false;
  await waitFor(isFollowing, { what: 'the return of etcd' });
  stop.abort();
  await running;
});

test('requireFollowing() holds while this process only looks late', async () => {
  const { feed, isFollowing, call } = makeReader();
  const answered = Promise.withResolvers<void>();
  const slow = (async (...asked: Parameters<EtcdCaller>) => {
    await answered.promise;
    return call(...asked);
  }) as EtcdCaller;
  assert.equal(isFollowing(), true);
  const reader = createRevisionReader({ call: slow, feed, prefix: '/w/', pulse: { everyMs: 1, limitMs: 1 } });
  const stop = new AbortController();
  const running = reader.run(stop.signal);
  const startedAt = performance.now();
  await waitFor(() => performance.now() - startedAt > 20, { what: 'the limit to be over' });
  reader.requireFollowing();
  stop.abort();
  answered.resolve();
  await running;
});

test('requireFollowing() holds while memory is behind the store and moves on', async () => {
  const { call } = makeReader();
  let looks = 0;
  let revision = 5;
  const feed = {
    loaded: true,
    get revision() {
      return revision;
    },
    whenLoaded: async () => undefined,
    async waitFor() {
      looks += 1;
      if (looks < 40) revision += 1;
      return false;
    },
  } as unknown as CacheFeed;
  const reader = createRevisionReader({ call, feed, prefix: '/w/', pulse: { everyMs: 1, limitMs: 1 } });
  const stop = new AbortController();
  const running = reader.run(stop.signal);
  await waitFor(() => looks >= 20, { what: 'some looks at a memory that moves' });
  reader.requireFollowing();
  await waitFor(() => throws(() => reader.requireFollowing()), { what: 'the end of patience once it stands still' });
  stop.abort();
  await running;
});

function throws(call: () => void): boolean {
  try {
    call();
    return false;
  } catch {
    return true;
  }
}

test('watchCollection() ends a quiet watch of a server that cannot follow the store', async (t) => {
  const { etcd, feed, reader, isFollowing } = makeReader();
  const stop = new AbortController();
  const running = reader.run(stop.signal);
  const batches = watchCollection({ feed, reader }, THINGS, { revision: 5, mustFollow: true }, stop.signal);
  assert.deepEqual((await batches.next()).value, { events: [], revision: 5 });
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const quiet = batches.next();
  t.mock.timers.tick(15_000);
  assert.deepEqual((await quiet).value, { events: [], revision: 5 });
  const last = batches.next();
  etcd.isAway = true;
  await new Promise((resolve) => {
    const check = (): unknown => (isFollowing() ? setImmediate(check) : resolve(undefined));
    check();
  });
  t.mock.timers.tick(15_000);
  await assert.rejects(last, { reason: 'Unavailable' });
  stop.abort();
  await running;
});
