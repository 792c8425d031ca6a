import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createEtcdClient } from '../../../apiserver/storage/etcd-client.ts';
import { createEtcdStore } from '../../../apiserver/storage/etcd-store.ts';
import type { ResourceStore, StoreEvent } from '../../../apiserver/storage/resource-store.ts';
import { systemClock } from '../../../lib/clock.ts';
import { reasonOf } from '../../../lib/errors.ts';
import { silentLogger } from '../../../lib/log.ts';
import { startTestEtcd, type TestEtcd } from '../../support/etcd.ts';
import { storageSuite } from '../../support/storage-suite.ts';
import { waitFor } from '../../support/wait.ts';

interface Opened extends AsyncDisposable {
  readonly store: ResourceStore;
  readonly client: ReturnType<typeof createEtcdClient>;
}

function openStore(etcd: TestEtcd, compactionIntervalMs?: number): Opened {
  const client = createEtcdClient([etcd.url]);
  const options = compactionIntervalMs === undefined ? {} : { compactionIntervalMs };
  const store = createEtcdStore({ client, prefix: '/test', clock: systemClock, log: silentLogger(), ...options });
  const stop = new AbortController();
  const running = store.run(stop.signal);
  return {
    store,
    client,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      client.close();
    },
  };
}

const THINGS = { group: 'test.dev', plural: 'things' } as const;
const thing = (name: string) => ({
  apiVersion: 'test.dev/v1',
  kind: 'Thing',
  metadata: { name, namespace: 'default' },
});

storageSuite('etcd', async () => {
  await using cleanup = new AsyncDisposableStack();
  const etcd = cleanup.use(await startTestEtcd());
  const first = cleanup.use(openStore(etcd));
  const second = cleanup.use(openStore(etcd));
  await Promise.all([first.store.whenReady(), second.store.whenReady()]);
  const owned = cleanup.move();
  return {
    store: first.store,
    other: second.store,
    async compact() {
      const revision = await first.store.currentRevision();
      await first.client.kv.compact({ revision: String(revision), physical: true });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
});

describe('the etcd store through failures', () => {
  it('waits for an etcd that starts later', async () => {
    await using etcd = await startTestEtcd({ start: false });
    await using opened = openStore(etcd);
    const begin = performance.now();
    await assert.rejects(opened.store.get(THINGS, 'default', 'a'), (error) => reasonOf(error) === 'Unavailable');
    assert.ok(performance.now() - begin < 1_000, 'a read must not wait for the store');
    await etcd.start();
    await opened.store.whenReady(AbortSignal.timeout(10_000));
    await opened.store.create(THINGS, thing('a'));
    assert.ok(await opened.store.get(THINGS, 'default', 'a'));
  });

  it('answers quickly while etcd is dead and continues its watches without a gap afterwards', async () => {
    await using etcd = await startTestEtcd();
    await using opened = openStore(etcd);
    const { store } = opened;
    await store.whenReady();
    const { revision } = await store.create(THINGS, thing('before'));
    const stop = new AbortController();
    const seen: StoreEvent[] = [];
    const watching = (async () => {
      for await (const batch of store.watch(THINGS, { revision }, stop.signal)) seen.push(...batch.events);
    })();
    assert.ok(await store.get(THINGS, 'default', 'before'), 'the write is in memory');
    await etcd.kill();
    const begin = performance.now();
    const failures = await Promise.allSettled([
      store.get(THINGS, 'default', 'before'),
      store.list(THINGS),
      store.create(THINGS, thing('meanwhile')),
      store.guaranteedUpdate(THINGS, 'default', 'before', () => ({ kind: 'delete' })),
    ]);
    assert.ok(performance.now() - begin < 7_000, 'requests must not hang');
    for (const failure of failures) {
      assert.equal(failure.status, 'rejected');
      assert.match(String(reasonOf(failure.reason)), /^(Unavailable|Timeout)$/);
    }
    assert.ok(await store.get(THINGS, 'default', 'before', { revision: 0 }), 'memory still answers');
    await etcd.start();
    await waitFor(
      async () =>
        store.create(THINGS, thing('after')).then(
          () => true,
          () => false,
        ),
      { what: 'a write' },
    );
    await waitFor(() => seen.some(({ entry }) => entry.name === 'after'), { what: 'the event of that write' });
    assert.deepEqual(
      seen.map(({ type, entry }) => [type, entry.name]),
      [['ADDED', 'after']],
    );
    stop.abort();
    await watching;
  });

  it('ends watches with Expired when the revisions they wait for were compacted meanwhile', async () => {
    await using etcd = await startTestEtcd();
    await using opened = openStore(etcd);
    await opened.store.whenReady();
    const { revision } = await opened.store.create(THINGS, thing('a'));
    const stop = new AbortController();
    const watching = (async () => {
      for await (const _ of opened.store.watch(THINGS, { revision }, stop.signal));
    })().then(
      () => undefined,
      (error: unknown) => error,
    );
    await etcd.kill();
    await etcd.start();
    // A writer that this store does not hear, faster than its stream comes back.
    const client = createEtcdClient([etcd.url]);
    for (let round = 0; round < 20; round += 1)
      await client.kv.put({ key: Buffer.from('/test/other'), value: Buffer.from(String(round)) });
    const { header } = await client.kv.range({ key: Buffer.from('x') });
    await client.kv.compact({ revision: header.revision, physical: true });
    client.close();
    const entry = await waitFor(() => opened.store.get(THINGS, 'default', 'a').catch(() => undefined), {
      what: 'a read',
    });
    assert.equal(entry.revision, revision);
    // Whether the stream was back before the compaction is a race; both ends keep the contract.
    const failure = await Promise.race([watching, Promise.resolve('still running')]);
    stop.abort();
    if (failure !== 'still running') assert.equal(reasonOf(failure), 'Expired');
  });

  it('compacts by itself, one server at a time', async () => {
    await using etcd = await startTestEtcd();
    await using first = openStore(etcd, 50);
    await using second = openStore(etcd, 50);
    await Promise.all([first.store.whenReady(), second.store.whenReady()]);
    const { revision } = await first.store.create(THINGS, thing('a'));
    for (let round = 0; round < 5; round += 1) await first.store.create(THINGS, thing(`b${round}`));
    const isCompacted = (): Promise<boolean> =>
      first.client.kv.range({ key: Buffer.from('x'), revision: String(revision) }).then(
        () => false,
        (error: Error) => /compacted/.test(error.message),
      );
    await waitFor(isCompacted, { what: 'a compaction' });
    assert.equal((await second.store.list(THINGS)).entries.length, 6);
  });

  it('reads its own prefix to the end although another program writes elsewhere in the same etcd', async () => {
    await using etcd = await startTestEtcd();
    await using opened = openStore(etcd);
    await opened.store.whenReady();
    await opened.client.kv.put({ key: Buffer.from('/foreign/key'), value: Buffer.from('1') });
    const begin = performance.now();
    assert.equal(await opened.store.get(THINGS, 'default', 'none'), undefined);
    assert.ok(performance.now() - begin < 1_500);
  });
});
