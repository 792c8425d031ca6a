import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
