import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openContentStore, type ContentStore } from '../../../oci/content-store.ts';
import { digestOf, type Digest } from '../../../oci/digest.ts';

async function withStore(use: (store: ContentStore, root: string) => Promise<void>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'windlass-store-'));
  try {
    await use(openContentStore(root), root);
  } finally {
    rmSync(root, { recursive: true });
  }
}

test('openIngest() shows a blob only when it is whole and right, and resumes what was left', () =>
  withStore(async (store, root) => {
    const bytes = Buffer.from('0123456789');
    const digest = digestOf(bytes);
    const first = await store.openIngest(digest, 10);
    await first.write(bytes.subarray(0, 4));
    await first.close();
    assert.equal(store.has(digest), false);
    const second = await openContentStore(root).openIngest(digest, 10);
    assert.equal(second.offset, 4);
    await second.write(bytes.subarray(4));
    await second.commit();
    assert.equal(store.has(digest, 10), true);
    assert.equal(store.has(digest, 11), false);
    assert.equal((await store.read(digest, 100)).toString(), '0123456789');
    await assert.rejects(store.read(digest, 5), { reason: 'Invalid', message: /the limit is 5/ });
    assert.deepEqual(readdirSync(join(root, 'ingest')), []);
  }));

test('openIngest() refuses wrong bytes, too many and too few, and keeps none of them', () =>
  withStore(async (store, root) => {
    const digest = digestOf('right');
    const wrong = await store.openIngest(digest, 5);
    await wrong.write(Buffer.from('wrong'));
    const message = `blob ${digest} has digest ${digestOf('wrong')}, want ${digest}`;
    await assert.rejects(wrong.commit(), { reason: 'Invalid', message });
    const long = await store.openIngest(digest, 5);
    await assert.rejects(long.write(Buffer.from('right and more')), { reason: 'Invalid', message: /more than the 5/ });
    await long.write(Buffer.from('rig'));
    await assert.rejects(long.commit(), { reason: 'Invalid', message: /has 3 bytes, its manifest says 5/ });
    assert.deepEqual([readdirSync(join(root, 'ingest')), store.has(digest)], [[], false]);
    await assert.rejects(store.openIngest(digest, Number.MAX_SAFE_INTEGER), {
      reason: 'Unavailable',
      message: /no space left on device/,
    });
  }));

test('a damaged blob is noticed when it is read; a damaged index when the store opens', () =>
  withStore(async (store, root) => {
    const digest = await store.put(Buffer.from('text'));
    writeFileSync(store.blobPath(digest), 'tex7');
    await assert.rejects(store.read(digest, 100), { reason: 'Invalid', message: /has digest/ });
    await assert.rejects(store.read(digestOf('absent'), 100), { reason: 'NotFound' });
    writeFileSync(join(root, 'index.json'), '{');
    assert.throws(() => openContentStore(root), { reason: 'Internal', message: /index .* is damaged/ });
  }));

test('sweep() asks again before each deletion', () =>
  withStore(async (store) => {
    const kept = await store.put(Buffer.from('kept'));
    const late = await store.put(Buffer.from('late'));
    const dead = await store.put(Buffer.from('dead'));
    const live = new Set<Digest>([kept]);
    const asked: Digest[] = [];
    const result = await store.sweep((digest) => {
      asked.push(digest);
      live.add(late);
      return live.has(digest) || digest === late;
    });
    assert.deepEqual(asked.toSorted(), [kept, late, dead].toSorted());
    assert.deepEqual(result, { blobs: 1, bytes: 4 });
    assert.deepEqual(
      [kept, late, dead].map((digest) => store.has(digest)),
      [true, true, false],
    );
  }));

test('stage() leaves nothing when its source fails; updateIndex() is durable', () =>
  withStore(async (store, root) => {
    async function* failing(): AsyncGenerator<Buffer> {
      yield Buffer.from('a');
      throw new Error('source failed');
    }
    await assert.rejects(store.stage(failing()), /source failed/);
    assert.deepEqual(readdirSync(join(root, 'ingest')), []);
    const entry = { mediaType: 'm', digest: digestOf('m'), size: 1 };
    store.updateIndex((entries) => [...entries, entry]);
    assert.deepEqual(openContentStore(root).index(), [entry]);
    assert.equal(JSON.parse(readFileSync(join(root, 'oci-layout'), 'utf8')).imageLayoutVersion, '1.0.0');
  }));
