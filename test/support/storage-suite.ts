// What every ResourceStore must do: the contract of apiserver/storage/resource-store.ts as tests.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import type { StoredObject } from '../../apiserver/resources/resource.ts';
import type { ResourceStore, StoreEvent } from '../../apiserver/storage/resource-store.ts';
import { reasonOf } from '../../lib/errors.ts';
import { waitFor } from './wait.ts';

export interface OpenStore extends AsyncDisposable {
  readonly store: ResourceStore;
  /** Another store on the same data, as a second server has it. */
  readonly other: ResourceStore;
  /** Forgets all revisions up to the present one. */
  compact(): Promise<void>;
}

const THINGS = { group: 'test.dev', plural: 'things' } as const;

const thing = (name: string, value = 1, namespace = 'default'): StoredObject => ({
  apiVersion: 'test.dev/v1',
  kind: 'Thing',
  metadata: { name, namespace, uid: randomUUID(), labels: { value: String(value) } },
  spec: { value },
});

const valueOf = (object: StoredObject): number => (object['spec'] as { value: number }).value;

/** Runs the contract against the store that `open` gives. */
export function storageSuite(name: string, open: () => Promise<OpenStore>): void {
  describe(`${name} keeps the contract of ResourceStore`, () => {
    let opened: OpenStore;
    let store: ResourceStore;
    before(async () => {
      opened = await open();
      store = opened.store;
    });
    after(() => opened[Symbol.asyncDispose]());

    const setValue = (value: number) => (entry: { clone(): StoredObject }) => {
      const object = entry.clone();
      object['spec'] = { value };
      return { kind: 'put', object } as const;
    };

    it('create() stores once and gives a revision that get() shows', async () => {
      const entry = await store.create(THINGS, thing('once'));
      assert.equal(entry.object.metadata.resourceVersion, String(entry.revision));
      const read = await store.get(THINGS, 'default', 'once');
      assert.deepEqual(read?.object, entry.object);
      assert.deepEqual(JSON.parse(String(read?.bytes)), entry.object);
      await assert.rejects(store.create(THINGS, thing('once')), (error) => reasonOf(error) === 'AlreadyExists');
    });

    it('create() lets one of many racers win', async () => {
      const results = await Promise.allSettled(
        [store, opened.other, store, opened.other].map((each) => each.create(THINGS, thing('raced'))),
      );
      assert.equal(results.filter((result) => result.status === 'fulfilled').length, 1);
    });

    it('get() without a revision sees what another server wrote just before', async () => {
      for (let round = 0; round < 5; round += 1) {
        const { revision } = await opened.other.create(THINGS, thing(`seen-${round}`));
        assert.equal((await store.get(THINGS, 'default', `seen-${round}`))?.revision, revision);
      }
    });

    it('guaranteedUpdate() loses no update of concurrent writers', async () => {
      await store.create(THINGS, thing('counter', 0));
      const add = (each: ResourceStore) =>
        each.guaranteedUpdate(THINGS, 'default', 'counter', (entry) => setValue(valueOf(entry.object) + 1)(entry));
      await Promise.all(Array.from({ length: 20 }, (_, index) => add(index % 2 ? store : opened.other)));
      const entry = await store.get(THINGS, 'default', 'counter');
      assert.equal(entry && valueOf(entry.object), 20);
    });

    it('guaranteedUpdate() does not take another order of keys for a change', async () => {
      const { revision } = await store.create(THINGS, { ...thing('ordered'), spec: { a: 1, b: { c: 2, d: 3 } } });
      const result = await store.guaranteedUpdate(THINGS, 'default', 'ordered', (entry) => {
        const { spec: _spec, ...rest } = entry.clone();
        return { kind: 'put', object: { spec: { b: { d: 3, c: 2 }, a: 1 }, ...rest } };
      });
      assert.deepEqual([result.kind, result.entry.revision], ['keep', revision]);
    });

    it('list() and watch() by name show that object alone', async () => {
      for (const name of ['by-name', 'by-name-2']) await store.create(THINGS, thing(name));
      const list = await store.list(THINGS, { namespace: 'default', name: 'by-name' });
      assert.deepEqual(
        list.entries.map((entry) => entry.name),
        ['by-name'],
      );
      const stop = new AbortController();
      const options = { namespace: 'default', name: 'by-name', revision: 0 };
      for await (const { events } of store.watch(THINGS, options, stop.signal)) {
        assert.deepEqual(
          events.map(({ type, entry }) => [type, entry.name]),
          [['ADDED', 'by-name']],
        );
        stop.abort();
      }
    });

    it('guaranteedUpdate() writes nothing when nothing changes', async () => {
      const created = await store.create(THINGS, thing('same', 7));
      const result = await store.guaranteedUpdate(THINGS, 'default', 'same', setValue(7));
      assert.equal(result.kind, 'keep');
      assert.equal(result.entry.revision, created.revision);
    });

    it('guaranteedUpdate() decides on the newest state before it refuses', async () => {
      await store.create(THINGS, thing('stale', 1));
      await opened.other.guaranteedUpdate(THINGS, 'default', 'stale', setValue(2));
      const result = await store.guaranteedUpdate(THINGS, 'default', 'stale', (entry) => {
        if (valueOf(entry.object) === 1) throw new Error('decided on a stale copy');
        return setValue(3)(entry);
      });
      assert.equal(valueOf(result.entry.object), 3);
      await assert.rejects(
        store.guaranteedUpdate(THINGS, 'default', 'stale', () => {
          throw new Error('refused');
        }),
        /refused/,
      );
    });

    it('guaranteedUpdate() deletes, and rejects with NotFound when there is nothing', async () => {
      await store.create(THINGS, thing('gone'));
      const result = await store.guaranteedUpdate(THINGS, 'default', 'gone', () => ({ kind: 'delete' }));
      assert.equal(result.kind, 'delete');
      assert.equal(await store.get(THINGS, 'default', 'gone'), undefined);
      await assert.rejects(
        store.guaranteedUpdate(THINGS, 'default', 'gone', () => ({ kind: 'delete' })),
        (error) => reasonOf(error) === 'NotFound',
      );
    });

    it('list() pages through one revision while objects come and go', async () => {
      const collection = { group: 'test.dev', plural: 'pages' };
      for (let index = 0; index < 10; index += 1) await store.create(collection, thing(`p${index}`, index));
      const first = await store.list(collection, { limit: 4 });
      assert.deepEqual(
        first.entries.map((entry) => entry.name),
        ['p0', 'p1', 'p2', 'p3'],
      );
      assert.equal(first.remaining, 6);
      await store.create(collection, thing('p41'));
      await store.guaranteedUpdate(collection, 'default', 'p5', () => ({ kind: 'delete' }));
      const second = await store.list(collection, { limit: 4, continueToken: first.continueToken as string });
      assert.deepEqual(
        second.entries.map((entry) => entry.name),
        ['p4', 'p5', 'p6', 'p7'],
      );
      assert.equal(second.revision, first.revision);
      const third = await store.list(collection, { limit: 4, continueToken: second.continueToken as string });
      assert.deepEqual(
        third.entries.map((entry) => entry.name),
        ['p8', 'p9'],
      );
      assert.equal(third.continueToken, undefined);
    });

    it('list() keeps namespaces apart and applies the filter before the limit', async () => {
      const collection = { group: 'test.dev', plural: 'scoped' };
      for (const namespace of ['a', 'a-b', 'b']) {
        for (const value of [1, 2, 3]) await store.create(collection, thing(`t${value}`, value, namespace));
      }
      const one = await store.list(collection, { namespace: 'a' });
      assert.deepEqual(
        one.entries.map((entry) => entry.namespace),
        ['a', 'a', 'a'],
      );
      const filtered = await store.list(collection, { limit: 2, filter: (entry) => valueOf(entry.object) === 3 });
      assert.deepEqual(
        filtered.entries.map((entry) => entry.name),
        ['t3', 't3'],
      );
      assert.equal(filtered.remaining, undefined);
    });

    it('list() refuses a revision that is still to come, in time', async () => {
      const now = await store.currentRevision();
      await assert.rejects(store.list(THINGS, { revision: now + 1000 }), (error) => reasonOf(error) === 'Timeout');
    });

    it('watch() delivers everything after its revision once, in order, with the state before', async () => {
      const collection = { group: 'test.dev', plural: 'watched' };
      const start = await store.create(collection, thing('w', 1));
      await store.guaranteedUpdate(collection, 'default', 'w', setValue(2));
      const stop = new AbortController();
      const events: StoreEvent[] = [];
      const reading = (async () => {
        for await (const batch of store.watch(collection, { revision: start.revision }, stop.signal)) {
          events.push(...batch.events);
        }
      })();
      await opened.other.guaranteedUpdate(collection, 'default', 'w', setValue(3));
      await store.create(collection, thing('x', 1, 'elsewhere'));
      const gone = await store.guaranteedUpdate(collection, 'default', 'w', () => ({ kind: 'delete' }));
      await waitFor(() => events.length >= 4, { what: 'four events' });
      stop.abort();
      await reading;
      assert.deepEqual(
        events.map(({ type, entry }) => [type, entry.name, valueOf(entry.object)]),
        [
          ['MODIFIED', 'w', 2],
          ['MODIFIED', 'w', 3],
          ['ADDED', 'x', 1],
          ['DELETED', 'w', 3],
        ],
      );
      assert.equal(events[3]?.entry.object.metadata.resourceVersion, String(gone.entry.revision));
      assert.equal(events[1]?.previous && valueOf(events[1].previous.object), 2);
    });

    it('watch() from 0 starts with what is there', async () => {
      const collection = { group: 'test.dev', plural: 'present' };
      const { revision } = await store.create(collection, thing('here'));
      await store.get(collection, 'default', 'here', { revision });
      for await (const batch of store.watch(collection, { revision: 0 }, AbortSignal.timeout(5_000))) {
        assert.deepEqual(
          batch.events.map(({ type, entry }) => [type, entry.name]),
          [['ADDED', 'here']],
        );
        break;
      }
    });

    it('create() with a time to live is a lease of the store', async () => {
      const collection = { group: 'test.dev', plural: 'mortal' };
      await store.create(collection, thing('brief'), { ttlSeconds: 3600 });
      assert.ok(await store.get(collection, 'default', 'brief'));
    });

    it('list() of a compacted revision is Expired and offers a way to go on', async () => {
      const collection = { group: 'test.dev', plural: 'old' };
      for (const name of ['a', 'b', 'c']) await store.create(collection, thing(name));
      const first = await store.list(collection, { limit: 1 });
      await store.create(collection, thing('d'));
      await opened.compact();
      const failure = await store.list(collection, { limit: 1, continueToken: first.continueToken as string }).then(
        () => assert.fail('must be refused'),
        (error: unknown) => error as { reason: string; details: { continueToken: string } },
      );
      assert.equal(failure.reason, 'Expired');
      const rest = await store.list(collection, { continueToken: failure.details.continueToken });
      assert.deepEqual(
        rest.entries.map((entry) => entry.name),
        ['b', 'c', 'd'],
      );
    });
  });
}
