// What is on the disk is what a registry has: it comes back after any end of its process.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock as clock } from '../../../lib/clock.ts';
import { silentLogger } from '../../../lib/log.ts';
import { openContentStore } from '../../../oci/content-store.ts';
import { digestOf } from '../../../oci/digest.ts';
import { claimFolder } from '../../../registry/store/claim-folder.ts';
import { openRegistryStore } from '../../../registry/store/registry-store.ts';
import { openUploads } from '../../../registry/store/uploads.ts';
import { makeImage } from '../../support/images.ts';
import { startLiveRegistry } from '../../support/live-registry.ts';

const limits = { maxUploads: 10, idleMs: 60_000 };
const log = silentLogger();

function makeFolder(t: { after(task: () => void): void }): string {
  const root = mkdtempSync(join(tmpdir(), 'windlass-test-registry-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  return root;
}

const reopen = (root: string) => {
  const store = openRegistryStore(openContentStore(root), { clock, log });
  return { store, uploads: openUploads(store, { clock, log, limits }) };
};

async function* once(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text);
}
const chunk = (text: string) => ({ body: once(text), admit: () => undefined });

test('repositories, tags and referrers are there after a restart', async (t) => {
  const root = makeFolder(t);
  const registry = await startLiveRegistry(t, { root });
  const digest = await registry.pushImage(makeImage(), 'shop/web', 'v1');
  const before = registry.store.repository('shop/web');
  const { store } = reopen(root);
  assert.deepEqual(store.names(), ['shop/web']);
  const after = store.repository('shop/web');
  assert.deepEqual(after?.tags, new Map([['v1', digest]]));
  assert.deepEqual([...(after?.blobs.keys() ?? [])].toSorted(), [...(before?.blobs.keys() ?? [])].toSorted());
  assert.deepEqual([...(after?.manifests.keys() ?? [])], [digest]);
  assert.equal(store.storedBytes(), registry.store.storedBytes());
});

test('an upload goes on after a restart where it was', async (t) => {
  const root = makeFolder(t);
  const first = reopen(root);
  const upload = await first.uploads.append(await first.uploads.start('shop/web', 'sha256'), chunk('hello, '));
  const { uploads, store } = reopen(root);
  const found = uploads.find('shop/web', upload.id);
  assert.equal(found.offset, 7);
  await uploads.finish(await uploads.append(found, chunk('world')), digestOf('hello, world'));
  assert.equal(store.repository('shop/web')?.blobs.get(digestOf('hello, world'))?.sizeBytes, 12);
  assert.deepEqual(readdirSync(join(root, 'uploads')), []);
});

test('a body that breaks off leaves what it brought; a chunk shorter than it said leaves nothing', async (t) => {
  const { uploads } = reopen(makeFolder(t));
  const upload = await uploads.start('shop/web', 'sha256');
  async function* broken(): AsyncGenerator<Buffer> {
    yield Buffer.from('abc');
    throw new Error('connection reset');
  }
  await assert.rejects(uploads.append(upload, { body: broken(), admit: () => undefined }), /connection reset/);
  const found = uploads.find('shop/web', upload.id);
  assert.equal(found.offset, 3);
  await assert.rejects(
    uploads.append(found, { ...chunk('de'), length: 3 }),
    /the chunk has 2 bytes, its headers say 3/,
  );
  assert.equal(uploads.find('shop/web', upload.id).offset, 3);
  await uploads.finish(await uploads.append(found, chunk('def')), digestOf('abcdef'));
});

test('damaged files are left out, the rest is there', async (t) => {
  const root = makeFolder(t);
  const registry = await startLiveRegistry(t, { root });
  const good = await registry.pushImage(makeImage(), 'shop/web', 'v1');
  const lost = await registry.pushImage(makeImage({ layers: [[{ name: 'x' }]] }), 'shop/web', 'v2');
  const folder = join(root, 'repositories/shop/web');
  writeFileSync(join(folder, '_manifests', lost.replace(':', '-')), '{"half":');
  writeFileSync(join(folder, '_tags/strange'), 'nonsense');
  writeFileSync(join(folder, '_blobs/nonsense'), '');
  writeFileSync(join(root, 'uploads/nonsense'), '');
  const { store } = reopen(root);
  assert.deepEqual(store.repository('shop/web')?.tags, new Map([['v1', good]]));
  assert.deepEqual(readdirSync(join(root, 'uploads')), []);
});

test('claimFolder() lets one registry in, and another after it has ended', (t) => {
  const root = makeFolder(t);
  {
    using _claim = claimFolder(root);
    assert.throws(
      () => claimFolder(root),
      new RegExp(`another registry \\(process ${process.pid}\\) uses this folder`),
    );
  }
  using _claim = claimFolder(root);
});
