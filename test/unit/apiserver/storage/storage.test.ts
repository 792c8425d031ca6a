import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createCollectionCache } from '../../../../apiserver/storage/collection-cache.ts';
import { decodeContinue, encodeContinue } from '../../../../apiserver/storage/continue-token.ts';
import { createEntry, encodeObject, entryAtRevision, parseKey } from '../../../../apiserver/storage/entry.ts';
import { createTtlLeases } from '../../../../apiserver/storage/ttl-leases.ts';
import type { Entry } from '../../../../apiserver/storage/resource-store.ts';
import type { Watcher } from '../../../../apiserver/storage/watchers.ts';

const entry = (name: string, revision: number, namespace = 'default'): Entry =>
  createEntry(namespace, name, revision, encodeObject({ apiVersion: 'v1', kind: 'A', metadata: { name, namespace } }));

describe('entries', () => {
  it('splice the revision into the stored bytes and never store it', () => {
    const value = encodeObject({
      spec: { text: '"metadata":{' },
      apiVersion: 'v1',
      kind: 'A',
      metadata: { resourceVersion: '9', name: 'x' },
    });
    assert.doesNotMatch(value.toString(), /resourceVersion/);
    const read = createEntry('', 'x', 12, value);
    assert.equal(read.object.metadata.resourceVersion, '12');
    assert.deepEqual(read.object['spec'], { text: '"metadata":{' });
    assert.notEqual(read.clone(), read.object);
    assert.equal(entryAtRevision(read, 15).object.metadata.resourceVersion, '15');
  });
  it('have keys that tell cluster scope from namespaces', () => {
    assert.deepEqual(parseKey('core/nodes/n1'), { collection: 'core/nodes', namespace: '', name: 'n1' });
    assert.deepEqual(parseKey('a.b/things/ns/x'), { collection: 'a.b/things', namespace: 'ns', name: 'x' });
    assert.equal(parseKey('core/nodes'), undefined);
  });
});

describe('continue tokens', () => {
  it('come back as they were given out', () => {
    const token = { revision: 42, after: 'ns/name' };
    assert.deepEqual(decodeContinue(encodeContinue(token)), token);
    for (const bad of ['', 'abc', Buffer.from('{"v":"x"}').toString('base64url')])
      assert.throws(() => decodeContinue(bad));
  });
});

describe('createCollectionCache()', () => {
  it('keeps key order, also of namespaces that are prefixes of others', () => {
    const cache = createCollectionCache(0);
    const added = [entry('x', 1, 'b'), entry('x', 2, 'a-b'), entry('z', 3, 'a'), entry('y', 4, 'a')];
    for (const each of added) cache.apply({ type: 'ADDED', entry: each });
    assert.deepEqual(
      cache.range('').map((each) => `${each.namespace}/${each.name}`),
      ['a-b/x', 'a/y', 'a/z', 'b/x'],
    );
    assert.deepEqual(
      cache.range('a/').map((each) => each.name),
      ['y', 'z'],
    );
    assert.deepEqual(
      cache.range('', 'a/y').map((each) => each.name),
      ['z', 'x'],
    );
    assert.deepEqual(
      cache.range('', 'a/yy').map((each) => each.name),
      ['z', 'x'],
    );
  });

  it('knows the events since a revision until they are too many', () => {
    const cache = createCollectionCache(10);
    assert.equal(cache.eventsSince(9), undefined);
    assert.deepEqual(cache.eventsSince(10), []);
    for (let revision = 11; revision < 40_000; revision += 1)
      cache.apply({ type: 'MODIFIED', entry: entry('x', revision) });
    assert.equal(cache.eventsSince(10), undefined);
    assert.deepEqual(
      cache.eventsSince(39_990)?.map((event) => event.entry.revision),
      [39_991, 39_992, 39_993, 39_994, 39_995, 39_996, 39_997, 39_998, 39_999],
    );
  });

  it('cuts a watcher that does not read, and tells all of them when continuity is lost', () => {
    const cache = createCollectionCache(0);
    const watcher = (): Watcher => ({ pending: [], pendingBytes: 0, wake: () => undefined });
    const [slow, other] = [watcher(), watcher()];
    cache.subscribe(slow);
    for (let revision = 1; revision < 20_000; revision += 1)
      cache.apply({ type: 'MODIFIED', entry: entry('x', revision) });
    assert.match(String(slow.failure?.message), /too slow/);
    cache.subscribe(other);
    cache.load([], 30_000);
    assert.equal(other.failure?.reason, 'Expired');
    assert.equal(cache.size, 0);
  });

  it('keeps few large events, and cuts a watcher that would hold many', () => {
    const cache = createCollectionCache(0);
    const large = (revision: number): Entry => ({ ...entry('x', revision), bytes: Buffer.allocUnsafeSlow(1_000_000) });
    const slow: Watcher = { pending: [], pendingBytes: 0, wake: () => undefined };
    cache.subscribe(slow);
    for (let revision = 1; revision <= 300; revision += 1) {
      cache.apply({ type: 'MODIFIED', entry: large(revision) });
      const kept = cache.eventsSince(cache.floor) ?? [];
      assert.deepEqual(
        kept.map((event) => event.entry.revision),
        Array.from({ length: revision - cache.floor }, (_, index) => cache.floor + index + 1),
      );
      assert.ok(kept.length <= 135, `${kept.length} large events kept`);
    }
    assert.match(String(slow.failure?.message), /too slow/);
    assert.deepEqual([slow.pending.length, slow.pendingBytes], [0, 0]);
    assert.equal(cache.eventsSince(1), undefined);
  });
});

describe('createTtlLeases()', () => {
  it('grants one lease per minute and forgets one that failed', async () => {
    let now = 0;
    let grants = 0;
    const clock = { now: () => now, sleep: async () => undefined };
    const leaseFor = createTtlLeases(async <T>() => {
      grants += 1;
      if (grants === 3) throw new Error('away');
      return { ID: String(grants) } as T;
    }, clock);
    assert.deepEqual([await leaseFor(3600), await leaseFor(3600)], ['1', '1']);
    now = 61_000;
    assert.equal(await leaseFor(3600), '2');
    now = 122_000;
    await assert.rejects(leaseFor(3600));
    assert.equal(await leaseFor(3600), '4');
  });
});
