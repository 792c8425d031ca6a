import assert from 'node:assert/strict';
import fs, { existsSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openContentStore } from '../../../../oci/content-store.ts';
import { digestOf } from '../../../../oci/digest.ts';
import { openKeptBlobs } from '../../../../runtime-shim/images/kept-blobs.ts';
import { createLeases } from '../../../../runtime-shim/images/leases.ts';

test('openKeptBlobs() keeps what is declared, and what was just brought in, also over a restart', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'windlass-kept-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const store = openContentStore(join(root, 'content'));
  const path = join(root, 'kept.json');
  let now = 1000;
  const open = () => {
    const leases = createLeases();
    return { leases, kept: openKeptBlobs(path, { store, leases, now: () => now, onDamaged: assert.fail }) };
  };
  const file = join(root, 'upload');
  const digest = digestOf(Buffer.from('one'));
  const first = open();
  writeFileSync(file, 'other');
  await assert.rejects(first.kept.adopt(file, digest), /digest/);
  assert.ok(existsSync(file));
  await assert.rejects(first.kept.adopt(join(root, 'absent'), digest), /does not exist/);
  await assert.rejects(first.kept.adopt(file, 'md5:x'), /want sha256/);
  writeFileSync(file, 'one');
  await first.kept.adopt(file, digest);
  assert.ok(!existsSync(file) && store.has(digest));
  assert.ok(first.leases.has(digest));
  // Sent once more.
  writeFileSync(file, 'one');
  await first.kept.adopt(file, digest);
  assert.ok(!existsSync(file));

  const second = open();
  assert.ok(second.leases.has(digest));
  now += 2 * 3600 * 1000;
  const absent = digestOf(Buffer.from('two'));
  assert.deepEqual(second.kept.declare([absent, digest]), [absent]);
  assert.ok(open().leases.has(digest));
  assert.deepEqual(second.kept.declare([]), []);
  assert.ok(!second.leases.has(digest));
  assert.ok(!open().leases.has(digest));
});

test('adopt() has the blob, the list and their names on the disk before it is done', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'windlass-kept-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const store = openContentStore(join(root, 'content'));
  const file = join(root, 'upload');
  const list = join(root, 'kept.json');
  const digest = digestOf(Buffer.from('one'));
  writeFileSync(file, 'one');
  const leases = createLeases();
  const kept = openKeptBlobs(list, { store, leases, onDamaged: assert.fail });
  const flushed: { path: string; holdsList: boolean; holdsBlob: boolean }[] = [];
  const { fsyncSync } = fs;
  t.mock.method(fs, 'fsyncSync', (fd: number) => {
    const path = readlinkSync(`/proc/self/fd/${fd}`);
    flushed.push({ path, holdsList: existsSync(list), holdsBlob: store.has(digest) });
    fsyncSync(fd);
  });
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
  await kept.adopt(file, digest);
  assert.deepEqual(flushed, [
    { path: `${list}.tmp`, holdsList: false, holdsBlob: false },
    { path: root, holdsList: true, holdsBlob: false },
    { path: join(root, 'content/blobs/sha256'), holdsList: true, holdsBlob: true },
  ]);
});

for (const damaged of ['', '{"declared":["sha256:ab', 'null', '{"declared":"all"}', '{"declared":["x"],"fresh":{}}']) {
  test(`openKeptBlobs() puts a damaged list aside and lets nothing go for it: ${JSON.stringify(damaged)}`, async (t) => {
    const root = mkdtempSync(join(tmpdir(), 'windlass-kept-'));
    t.after(() => rmSync(root, { recursive: true, force: true }));
    const store = openContentStore(join(root, 'content'));
    const digest = await store.put(Buffer.from('one'));
    const path = join(root, 'kept.json');
    writeFileSync(path, damaged);
    const told: string[] = [];
    const leases = createLeases();
    let now = 1000;
    const kept = openKeptBlobs(path, { store, leases, now: () => now, onDamaged: (file) => told.push(file) });
    assert.deepEqual(told, [path]);
    assert.equal(readFileSync(`${path}.damaged`, 'utf8'), damaged);
    assert.ok(leases.has(digest));
    const again = createLeases();
    openKeptBlobs(path, { store, leases: again, now: () => now, onDamaged: assert.fail });
    assert.ok(again.has(digest));
    now += 2 * 3600 * 1000;
    kept.declare([]);
    assert.ok(!leases.has(digest));
  });
}
