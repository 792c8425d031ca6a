import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createApiClient } from '../../../client/api-client.ts';
import { createInformer, type Change, type InformerOptions } from '../../../client/informer.ts';
import { createInformerMetrics } from '../../../client/informer-metrics.ts';
import { volumeKind, type Volume } from '../../../crds/index.ts';
import { systemClock } from '../../../lib/clock.ts';
import { silentLogger } from '../../../lib/log.ts';
import { Registry } from '../../../lib/metrics.ts';
import { waitFor } from '../../support/wait.ts';
import { startFakeVolumeServer, type FakeVolumeServer } from './fake-volume-server.ts';

const BACKOFF = { initialMs: 1, maxMs: 5 };

/** An informer that runs against the server, and the changes it reported as short texts. */
function follow(server: FakeVolumeServer, options: Partial<InformerOptions<Volume>> = {}) {
  const api = createApiClient(server.api.connection);
  const informer = createInformer(api.kind(volumeKind), {
    log: silentLogger(),
    clock: systemClock,
    backoff: BACKOFF,
    ...options,
  });
  const changes: string[] = [];
  const describe = ({ key, previous, deleted }: Change<Volume>): string =>
    `${deleted ? 'deleted' : previous ? 'updated' : 'added'} ${key}`;
  informer.subscribe((change) => changes.push(describe(change)));
  const stop = new AbortController();
  const running = informer.run(stop.signal);
  return {
    informer,
    changes,
    names: (): string[] =>
      informer
        .list()
        .map(({ metadata }) => metadata.name)
        .toSorted(),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      await api.close();
    },
  };
}

const watching = (server: FakeVolumeServer): Promise<boolean> =>
  waitFor(() => server.openWatches() === 1, { what: 'open watch' });

test('createInformer() lists, then follows what is added, changed and deleted', async () => {
  await using server = await startFakeVolumeServer();
  server.put('a');
  await using follower = follow(server);
  await follower.informer.synced(AbortSignal.timeout(5000));
  await watching(server);
  server.put('b');
  server.put('a');
  server.remove('b');
  await waitFor(() => follower.changes.length === 4);
  assert.deepEqual(follower.changes, ['added default/a', 'added default/b', 'updated default/a', 'deleted default/b']);
  assert.deepEqual(follower.names(), ['a']);
  assert.equal(server.lists(), 1);
});

test('a reset connection continues from the last version without a new list', async () => {
  await using server = await startFakeVolumeServer();
  await using follower = follow(server);
  await watching(server);
  for (const name of ['a', 'b', 'c']) {
    server.api.resetConnections();
    server.put(name);
    await waitFor(() => follower.names().includes(name));
  }
  assert.deepEqual(follower.changes, ['added default/a', 'added default/b', 'added default/c']);
  assert.equal(server.lists(), 1);
});

test('reconnect() opens a watch that was cut in silence anew, where it was', async () => {
  await using server = await startFakeVolumeServer();
  server.put('a');
  await using follower = follow(server);
  await watching(server);
  server.muteWatches();
  server.put('b');
  // It was opened after that.
  follower.informer.reconnect(Date.now() - 60_000);
  assert.equal(server.openWatches(), 0);
  follower.informer.reconnect(Date.now() + 1);
  await waitFor(() => follower.names().includes('b'));
  assert.deepEqual([server.lists(), server.openWatches()], [1, 1]);
});

test('a watch that the server closes is opened again from the last bookmark', async () => {
  await using server = await startFakeVolumeServer();
  await using follower = follow(server);
  await watching(server);
  server.bookmark();
  server.closeWatches();
  await waitFor(() => server.api.requests.filter((line) => line.includes('resourceVersion=11')).length > 0);
  await watching(server);
  server.put('a');
  await waitFor(() => follower.names().length === 1);
  assert.equal(server.lists(), 1);
});

test('after compaction the list is fetched again and only real differences are reported', async () => {
  await using server = await startFakeVolumeServer();
  for (const name of ['kept', 'changed', 'removed']) server.put(name);
  await using follower = follow(server);
  await watching(server);
  follower.changes.length = 0;
  // Nothing reaches the informer while its requests fail.
  server.failNext(3, 503, 'down');
  server.api.resetConnections();
  server.put('changed');
  server.put('new');
  server.remove('removed');
  server.compact();
  await waitFor(() => server.lists() === 2);
  await waitFor(() => follower.changes.length === 3);
  assert.deepEqual(follower.changes.toSorted(), [
    'added default/new',
    'deleted default/removed',
    'updated default/changed',
  ]);
});

test('an ERROR frame with 410 in mid-stream leads to a new list', async () => {
  await using server = await startFakeVolumeServer();
  await using follower = follow(server);
  await watching(server);
  server.inject('{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"compacted"}}\n');
  await waitFor(() => server.lists() === 2);
  await watching(server);
  server.put('a');
  await waitFor(() => follower.names().length === 1);
});

test('garbage in the stream does not end the informer', async () => {
  await using server = await startFakeVolumeServer();
  await using follower = follow(server);
  await watching(server);
  for (const garbage of ['hello\n', '{"type":"ADDED","object":7}\n', '\u0000\n', '[]\n']) {
    server.inject(garbage);
    server.put('a');
    await waitFor(() => follower.informer.get('default/a') !== undefined);
    server.remove('a');
    await waitFor(() => follower.informer.get('default/a') === undefined);
    await watching(server);
  }
});

test('an informer started before its server answers syncs once it does', async () => {
  await using server = await startFakeVolumeServer();
  server.put('a');
  server.failNext(7, 500);
  await using follower = follow(server);
  assert.equal(follower.informer.hasSynced(), false);
  await follower.informer.synced(AbortSignal.timeout(5000));
  assert.deepEqual(follower.names(), ['a']);
});

test('a version from another life of the store leads to a new list', async () => {
  await using server = await startFakeVolumeServer();
  await using follower = follow(server);
  await watching(server);
  server.failNext(1, 504, { kind: 'Status', code: 504, reason: 'Timeout', message: 'Too large resource version' });
  server.api.resetConnections();
  await waitFor(() => server.lists() === 2);
  await watching(server);
  assert.ok(follower.informer.hasSynced());
});

test('a server that closes every watch at once is asked less and less often', async () => {
  await using server = await startFakeVolumeServer();
  await using follower = follow(server, { backoff: { initialMs: 10, maxMs: 10_000 } });
  await watching(server);
  const timer = setInterval(() => server.closeWatches(), 1);
  await waitFor(() => server.api.requests.length > 5);
  const before = server.api.requests.length;
  await new Promise((resolve) => setTimeout(resolve, 100));
  clearInterval(timer);
  assert.ok(server.api.requests.length - before <= 3, `${server.api.requests.length - before} requests in 100 ms`);
  assert.ok(follower.informer.hasSynced());
});

test('objects are found by index, and what is cached cannot be changed', async () => {
  await using server = await startFakeVolumeServer();
  const indexes = {
    tier: ({ metadata }: Volume): string[] => (metadata.labels?.['tier'] ? [metadata.labels['tier']] : []),
  };
  await using follower = follow(server, { indexes });
  await watching(server);
  server.put('a', { tier: 'front' });
  server.put('b', { tier: 'front' });
  server.put('a', { tier: 'back' });
  await waitFor(() => follower.changes.length === 3);
  const { informer } = follower;
  assert.deepEqual(
    informer.byIndex('tier', 'front').map(({ metadata }) => metadata.name),
    ['b'],
  );
  assert.deepEqual(
    informer.byIndex('tier', 'back').map(({ metadata }) => metadata.name),
    ['a'],
  );
  assert.deepEqual(informer.byIndex('tier', 'none'), []);
  assert.deepEqual(informer.list('other'), []);
  assert.equal(informer.list('default').length, 2);
  assert.throws(() => informer.byIndex('colour', 'red'), /no index "colour"/);
  assert.throws(() => Object.assign(informer.get('default/a')?.metadata.labels ?? {}, { tier: 'x' }), TypeError);
});

test('a late subscriber hears of what is cached; one that throws disturbs nobody; one that left hears nothing', async () => {
  await using server = await startFakeVolumeServer();
  server.put('a');
  await using follower = follow(server);
  await watching(server);
  const late: string[] = [];
  const leave = follower.informer.subscribe(({ key }) => late.push(key));
  follower.informer.subscribe(() => {
    throw new Error('handler is broken');
  });
  assert.deepEqual(late, ['default/a']);
  leave();
  server.put('b');
  await waitFor(() => follower.changes.length === 2);
  assert.deepEqual(late, ['default/a']);
});

test('resync reports every cached object again', async () => {
  await using server = await startFakeVolumeServer();
  server.put('a');
  await using follower = follow(server, { resyncMs: 10 });
  await waitFor(() => follower.changes.length >= 3);
  assert.deepEqual(follower.changes.slice(0, 3), ['added default/a', 'updated default/a', 'updated default/a']);
});

test('synced() rejects with AbortError when its caller gives up', async () => {
  await using server = await startFakeVolumeServer();
  server.failNext(1000, 500);
  await using follower = follow(server);
  await assert.rejects(follower.informer.synced(AbortSignal.timeout(10)), { name: 'AbortError' });
});

test('objects, events, lists and failures are counted', async () => {
  const registry = new Registry();
  await using server = await startFakeVolumeServer();
  server.failNext(2, 500);
  await using follower = follow(server, { metrics: createInformerMetrics(registry) });
  await watching(server);
  server.put('a');
  await waitFor(() => follower.names().length === 1);
  const text = await registry.metrics();
  for (const line of [
    'windlass_informer_objects{resource="volumes"} 1',
    'windlass_informer_events_total{resource="volumes",type="ADDED"} 1',
    'windlass_informer_lists_total{resource="volumes"} 1',
    'windlass_informer_failures_total{resource="volumes"} 2',
  ]) {
    assert.ok(text.includes(line), `${line}\n${text}`);
  }
});
