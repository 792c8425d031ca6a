// Cache folders: who gets which when, how they begin, what is counted and pruned.
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { openCacheMounts, type CacheMount, type CacheMounts } from '../../../../builder/run/cache-mounts.ts';
import { createSpawner } from '../../../../runtime-shim/host/spawn.ts';
import { requireRoot } from '../../../support/require.ts';
import { waitFor } from '../../../support/wait.ts';

const never = new AbortController().signal;
const mount = (overrides: Partial<CacheMount> = {}): CacheMount => ({
  ...{ type: 'cache', target: '/c', id: 'id', source: '/', sharing: 'shared', isReadOnly: false },
  ...{ mode: 0o755, uid: 0, gid: 0 },
  ...overrides,
});

interface Opened {
  readonly folder: string;
  readonly clock: { now: number };
  readonly caches: CacheMounts;
  reopen(): CacheMounts;
}

function open(t: TestContext): Opened {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-caches-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const clock = { now: 1_000_000 };
  const own = join(folder, 'caches');
  const reopen = (): CacheMounts => openCacheMounts({ spawner: createSpawner(), folder: own, now: () => clock.now });
  return { folder: own, clock, caches: reopen(), reopen };
}

/** Whether it is still waiting after everybody else had a turn. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  const turn = new Promise((resolve) => setImmediate(resolve, 'turn'));
  return (await Promise.race([promise, turn])) === 'turn';
}

test('shared: all have one folder at the same time', async (t) => {
  const { caches } = open(t);
  using first = await caches.acquire(mount(), undefined, never);
  using second = await caches.acquire(mount(), undefined, never);
  using other = await caches.acquire(mount({ id: 'other' }), undefined, never);
  assert.equal(first.path, second.path);
  assert.notEqual(first.path, other.path);
});

test('locked: one after the other, in the order they came, shared ones too', async (t) => {
  const { caches } = open(t);
  const first = await caches.acquire(mount({ sharing: 'locked' }), undefined, never);
  const second = caches.acquire(mount({ sharing: 'locked' }), undefined, never);
  const third = caches.acquire(mount(), undefined, never);
  assert.ok(await isPending(second));
  first[Symbol.dispose]();
  const lease = await second;
  assert.equal(lease.path, first.path);
  assert.ok(await isPending(third));
  lease[Symbol.dispose]();
  lease[Symbol.dispose]();
  (await third)[Symbol.dispose]();
});

test('locked: a stream of shared ones lets it in', async (t) => {
  const { caches } = open(t);
  const shared = await caches.acquire(mount(), undefined, never);
  const locked = caches.acquire(mount({ sharing: 'locked' }), undefined, never);
  const late = caches.acquire(mount(), undefined, never);
  assert.ok(await isPending(late));
  shared[Symbol.dispose]();
  (await locked)[Symbol.dispose]();
  (await late)[Symbol.dispose]();
});

test('locked: who gives up waiting is not served, and those behind are', async (t) => {
  const { caches } = open(t);
  const first = await caches.acquire(mount(), undefined, never);
  const stop = new AbortController();
  const second = caches.acquire(mount({ sharing: 'locked' }), undefined, stop.signal);
  const third = caches.acquire(mount(), undefined, never);
  stop.abort(new Error('cancelled'));
  await assert.rejects(second, /cancelled/);
  (await third)[Symbol.dispose]();
  first[Symbol.dispose]();
});

test('private: another folder while somebody has it, the same one again afterwards', async (t) => {
  const { caches } = open(t);
  const first = await caches.acquire(mount({ sharing: 'private' }), undefined, never);
  const second = await caches.acquire(mount({ sharing: 'private' }), undefined, never);
  assert.notEqual(first.path, second.path);
  for (const lease of [first, second]) lease[Symbol.dispose]();
  using again = await caches.acquire(mount({ sharing: 'private' }), undefined, never);
  assert.equal(again.path, first.path);
});

test('a new folder begins with mode and owner, or with a copy, which is made once', async (t) => {
  if (!requireRoot(t)) return;
  const { caches, folder } = open(t);
  const initial = join(folder, '..', 'initial');
  mkdirSync(join(initial, 'below'), { recursive: true, mode: 0o700 });
  writeFileSync(join(initial, 'below/file'), 'content', { mode: 0o640 });
  using empty = await caches.acquire(mount({ id: 'empty', mode: 0o2770, uid: 5, gid: 6 }), undefined, never);
  const { mode, uid, gid } = statSync(empty.path);
  assert.deepEqual([mode & 0o7777, uid, gid], [0o2770, 5, 6]);
  let asked = 0;
  const initialOf = (): string => {
    asked += 1;
    return initial;
  };
  const leases = await Promise.all([1, 2, 3].map(() => caches.acquire(mount(), initialOf, never)));
  assert.equal(asked, 1);
  assert.equal(readFileSync(join(leases[0]?.path ?? '', 'below/file'), 'utf8'), 'content');
  for (const lease of leases) lease[Symbol.dispose]();
});

test('a copy that fails leaves no folder, and the next one tries again', async (t) => {
  const { caches, folder } = open(t);
  await assert.rejects(
    caches.acquire(mount(), () => join(folder, 'none'), never),
    /failed to copy the initial content/,
  );
  assert.deepEqual(
    (await caches.list()).map(({ isInUse }) => isInUse),
    [false],
  );
  using lease = await caches.acquire(mount(), undefined, never);
  assert.deepEqual(readdirSync(lease.path), []);
});

test('build: mount tricks (CVE-2024-9675): an id names no place, cache id ../x', async (t) => {
  const { caches, folder } = open(t);
  for (const id of ['../x', '/etc', '..', '', 'a/../../b', 'x'.repeat(10_000), '\n']) {
    using lease = await caches.acquire(mount({ id }), undefined, never);
    assert.match(lease.path.slice(folder.length), /^\/[0-9a-f]{64}\/0$/);
  }
  assert.deepEqual(readdirSync(join(folder, '..')), ['caches']);
});

test('caches are listed and counted, last as they are used', async (t) => {
  const { caches, clock } = open(t);
  const lease = await caches.acquire(mount({ id: 'big' }), undefined, never);
  writeFileSync(join(lease.path, 'file'), Buffer.alloc(100_000, 1));
  clock.now = 2_000_000;
  lease[Symbol.dispose]();
  using _small = await caches.acquire(mount({ id: 'small' }), undefined, never);
  const [big, small] = (await caches.list()).toSorted((a, b) => a.id.localeCompare(b.id));
  assert.deepEqual([big?.id, big?.createdAtMs, big?.lastUsedAtMs, big?.isInUse], ['big', 1_000_000, 2_000_000, false]);
  assert.deepEqual([small?.id, small?.isInUse], ['small', true]);
  assert.ok((big?.usedBytes ?? 0) >= 100_000 && (small?.usedBytes ?? 0) < 20_000);
  assert.equal(await caches.usage(), (big?.usedBytes ?? 0) + (small?.usedBytes ?? 0));
});

test('prune() deletes what nobody uses, by age or the longest unused first until the rest fits', async (t) => {
  const { caches, clock, folder } = open(t);
  for (const [index, id] of ['a', 'b', 'c'].entries()) {
    clock.now = 1_000_000 * (index + 1);
    using lease = await caches.acquire(mount({ id }), undefined, never);
    writeFileSync(join(lease.path, 'file'), Buffer.alloc(1_000_000, 1));
  }
  const ids = async (): Promise<string[]> => (await caches.list()).map(({ id }) => id).toSorted();
  assert.equal(await caches.prune({ unusedForMs: 5_000_000 }), 0);
  assert.ok((await caches.prune({ unusedForMs: 1_500_000 })) >= 1_000_000);
  assert.deepEqual(await ids(), ['b', 'c']);
  await caches.prune({ maxBytes: 1_500_000 });
  assert.deepEqual(await ids(), ['c']);
  using lease = await caches.acquire(mount({ id: 'used' }), undefined, never);
  await caches.prune();
  assert.deepEqual(await ids(), ['used']);
  assert.ok(existsSync(lease.path));
  await waitFor(() => readdirSync(folder).length === 1, { what: 'deleted folders' });
});

test('prune() by age and size: what is old goes although there is room, what is new where there is none', async (t) => {
  const { caches, clock } = open(t);
  for (const [index, id] of ['a', 'b', 'c', 'd'].entries()) {
    clock.now = 1_000_000 * (index + 1);
    using lease = await caches.acquire(mount({ id }), undefined, never);
    writeFileSync(join(lease.path, 'file'), Buffer.alloc(1_000_000, 1));
  }
  const ids = async (): Promise<string[]> => (await caches.list()).map(({ id }) => id).toSorted();
  await caches.prune({ unusedForMs: 2_500_000, maxBytes: 100_000_000 });
  assert.deepEqual(await ids(), ['b', 'c', 'd']);
  await caches.prune({ unusedForMs: 2_500_000, maxBytes: 2_500_000 });
  assert.deepEqual(await ids(), ['c', 'd']);
});

test('what a crash left half made or half deleted is gone with the next process', async (t) => {
  const { caches, folder, reopen } = open(t);
  const lease = await caches.acquire(mount(), undefined, never);
  mkdirSync(`${lease.path}.tmp`);
  mkdirSync(join(folder, 'trash-of-a-crash/below'), { recursive: true });
  const again = reopen();
  await waitFor(() => readdirSync(folder).length === 1, { what: 'deleted folders' });
  assert.ok(!existsSync(`${lease.path}.tmp`));
  using same = await again.acquire(mount(), undefined, never);
  assert.equal(same.path, lease.path);
});
