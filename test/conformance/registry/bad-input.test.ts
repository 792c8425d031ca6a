// Rows of the list of bad inputs that are about a registry, each by its name: nothing outside the store, nothing without
// a bound, and a code that says what was wrong.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { digestOf, type Digest } from '../../../oci/digest.ts';
import { MEDIA_TYPES } from '../../../oci/media-types.ts';
import { collectGarbage } from '../../../registry/store/collect-garbage.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { makeImage } from '../../support/images.ts';
import { codeOf, startLiveRegistry, type LiveRegistry } from '../../support/live-registry.ts';

const MANIFEST = { 'content-type': MEDIA_TYPES.ociManifest };

test('registry names', async (t) => {
  const registry = await startLiveRegistry(t);
  const before = readdirSync(dirname(registry.root)).length;
  const names = [
    '..',
    'a//b',
    'a'.repeat(300),
    '_catalog',
    'A/b',
    'a/../b',
    './a',
    'a/',
    '-a',
    'a%2f..%2f..%2fb',
    'a\\b',
    'a..b',
    'a/_blobs',
  ];
  for (const name of names) {
    for (const path of [`/v2/${name}/blobs/uploads/`, `/v2/${name}/blobs/uploads/?mount=${digestOf('x')}`]) {
      const reply = await registry.send('POST', path);
      assert.deepEqual([reply.status, codeOf(reply)], [400, 'NAME_INVALID'], name);
    }
  }
  for (const tag of ['a'.repeat(129), '.a', '-a', 'a%00', '%2e%2e']) {
    const reply = await registry.send('PUT', `/v2/shop/web/manifests/${tag}`, { headers: MANIFEST, body: '{}' });
    assert.equal(reply.status, 400, tag);
  }
  assert.deepEqual(registry.store.names(), []);
  assert.deepEqual(readdirSync(registry.root).toSorted(), ['blobs', 'index.json', 'ingest', 'oci-layout', 'uploads']);
  assert.equal(readdirSync(dirname(registry.root)).length, before);
});

test('digest path traversal', async (t) => {
  const registry = await startLiveRegistry(t);
  const digests = [
    'sha256:../../x',
    `sha256:${'A'.repeat(64)}`,
    'sha256:abc',
    `sha3:${'0'.repeat(64)}`,
    `${'x'.repeat(5_000)}:00`,
  ];
  for (const digest of digests) {
    for (const [method, path] of [
      ['GET', `/v2/shop/web/blobs/${digest.replaceAll('/', '%2f')}`],
      ['DELETE', `/v2/shop/web/blobs/${digest.replaceAll('/', '%2f')}`],
      ['GET', `/v2/shop/web/manifests/${digest.replaceAll('/', '%2f')}`],
      ['POST', `/v2/shop/web/blobs/uploads/?digest=${encodeURIComponent(digest)}`],
      ['POST', `/v2/shop/web/blobs/uploads/?mount=${encodeURIComponent(digest)}&from=a`],
    ] as const) {
      const { status } = await registry.send(method, path);
      assert.equal(status, 400, `${method} ${path.slice(0, 80)}`);
    }
  }
});

test('manifest confusion', async (t) => {
  const registry = await startLiveRegistry(t, { rules: { allowSparse: true } });
  const config = { mediaType: MEDIA_TYPES.ociConfig, digest: digestOf('c'), size: 1 };
  const image = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config, layers: [] };
  const documents: [string, object | string][] = [
    ['layers and manifests', { ...image, manifests: [] }],
    ['another mediaType', { ...image, mediaType: MEDIA_TYPES.ociIndex }],
    ['an index called an image', { schemaVersion: 2, manifests: [] }],
    ['another spelling', { ...image, Layers: [config] }],
    ['schema 1', { schemaVersion: 1, fsLayers: [], history: [] }],
    ['no config', { ...image, config: undefined }],
    ['a negative size', { ...image, layers: [{ ...config, size: -1 }] }],
    ['a digest that is a path', { ...image, layers: [{ ...config, digest: 'sha256:../x' }] }],
    ['null', 'null'],
    ['truncated', JSON.stringify(image).slice(0, -5)],
    ['deep', '['.repeat(1_000_000)],
  ];
  for (const [what, document] of documents) {
    const body = typeof document === 'string' ? document : JSON.stringify(document);
    const reply = await registry.send('PUT', '/v2/shop/web/manifests/v1', { headers: MANIFEST, body });
    assert.deepEqual([reply.status, codeOf(reply)], [400, 'MANIFEST_INVALID'], what);
  }
  const typed = await registry.send('PUT', '/v2/shop/web/manifests/v1', {
    headers: { 'content-type': 'text/html' },
    body: '{}',
  });
  assert.equal(codeOf(typed), 'MANIFEST_INVALID');
  assert.deepEqual(registry.store.names(), []);
});

test('registry memory: page sizes, a manifest of 1 GB, a chunk of 0 bytes', async (t) => {
  const registry = await startLiveRegistry(t);
  await registry.pushBlob('shop/web', '{}');
  for (const path of ['/v2/_catalog', '/v2/shop/web/tags/list']) {
    for (const n of ['-1', '1e9', 'x', '9'.repeat(30)]) {
      assert.equal((await registry.send('GET', `${path}?n=${n}`)).status, 400, `${path} ${n}`);
    }
    assert.equal((await registry.send('GET', `${path}?n=1000000000`)).status, 200);
  }
  const headers = { ...MANIFEST, 'content-length': String(1024 ** 3) };
  const large = await registry
    .send('PUT', '/v2/shop/web/manifests/v1', { headers, body: endless() })
    .catch((error: Error) => error);
  // The answer may come before, or instead of, the end of what is sent.
  if (!(large instanceof Error)) assert.deepEqual([large.status, codeOf(large)], [413, 'MANIFEST_INVALID']);
  const { headers: started } = await registry.send('POST', '/v2/shop/web/blobs/uploads/');
  const empty = await registry.send('PATCH', String(started.location), { body: '' });
  assert.deepEqual([empty.status, empty.headers.range], [202, '0-0']);
  assert.equal((await registry.send('GET', '/v2/')).status, 200);
});

test('registry memory: 100,000 upload sessions', async (t) => {
  const clock = createFakeClock();
  const registry = await startLiveRegistry(t, { clock, limits: { maxUploads: 20, idleMs: 60_000 } });
  const statuses = new Map<number, number>();
  for (let count = 0; count < 30; count += 1) {
    const { status } = await registry.send('POST', '/v2/shop/web/blobs/uploads/');
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  }
  assert.deepEqual(
    [...statuses],
    [
      [202, 20],
      [429, 10],
    ],
  );
  await clock.advance(61_000);
  assert.equal(await registry.uploads.expire(), 20);
  assert.deepEqual(readdirSync(join(registry.root, 'uploads')), []);
  assert.equal((await registry.send('POST', '/v2/shop/web/blobs/uploads/')).status, 202);
});

test('registry memory: slow-loris upload', async (t) => {
  const registry = await startLiveRegistry(t, { idleMs: 200 });
  const { headers } = await registry.send('POST', '/v2/shop/web/blobs/uploads/');
  const [host = '', port = ''] = registry.host.split(':');
  const socket = connect(Number(port), host);
  socket.on('error', () => undefined);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.write(`PATCH ${String(headers.location)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nabc`);
  await closed;
  // What it sent is there to be gone on with.
  const status = await registry.send('GET', String(headers.location));
  assert.deepEqual([status.status, status.headers.range], [204, '0-2']);
});

test('quota: a push past it is DENIED with the limit, whichever way it comes', async (t) => {
  const registry = await startLiveRegistry(t, { rules: { maxRepositoryBytes: 4_000, maxBytes: 6_000 } });
  const first = randomBytes(3_000);
  await registry.pushBlob('a', first);
  const push = (repository: string, bytes: Buffer) =>
    registry.send('POST', `/v2/${repository}/blobs/uploads/?digest=${digestOf(bytes)}`, { body: bytes });
  const over = await push('a', randomBytes(1_500));
  assert.deepEqual([over.status, codeOf(over)], [403, 'DENIED']);
  assert.match(over.body.toString(), /quota of repository a is 3\.9 ?KiB|quota of repository a is 4/);
  await registry.pushBlob('b', randomBytes(2_900));
  assert.equal((await push('c', randomBytes(500))).status, 403);
  // Without a length it is seen on the way; two at once cannot both take what one may.
  const { headers } = await registry.send('POST', '/v2/c/blobs/uploads/');
  const streamed = await registry.send('PATCH', String(headers.location), { body: pieces(randomBytes(2_000)) });
  assert.equal(streamed.status, 403);
  const mounted = await registry.send('POST', `/v2/b/blobs/uploads/?mount=${digestOf(first)}&from=a`);
  assert.equal(mounted.status, 403);
});

test('GC race: a blob of a manifest that is being pushed is never lost', async (t) => {
  const clock = createFakeClock();
  const registry = await startLiveRegistry(t, { clock });
  const rules = { graceMs: 60_000, deleteUntagged: true, cacheBytes: 0 };
  const collecting = { ...registry, clock };
  const stop = new AbortController();
  const collector = (async () => {
    while (!stop.signal.aborted) {
      await collectGarbage(collecting, rules);
      await turn();
    }
  })();
  const digests: Digest[] = [];
  for (let round = 0; round < 40; round += 1) {
    const image = makeImage({ layers: [[{ name: 'a', content: String(round) }], [{ name: 'b', content: 'shared' }]] });
    digests.push(await registry.pushImage(image, `app${round % 3}`, `v${round}`));
    // What nothing leads to is old at once: only what is wanted, named or held may stay.
    await clock.advance(30_000);
    if (round % 2) await registry.send('DELETE', `/v2/app${(round - 1) % 3}/manifests/${digests[round - 1]}`);
  }
  stop.abort();
  await collector;
  for (let round = 1; round < 40; round += 2) await assertComplete(registry, `app${round % 3}`, `v${round}`);
  await clock.advance(61_000);
  await collectGarbage(collecting, rules);
  for (let round = 1; round < 40; round += 2) await assertComplete(registry, `app${round % 3}`, `v${round}`);
  // 20 images: manifest, config and own layer each, and the layer that all share.
  assert.equal(readdirSync(join(registry.root, 'blobs/sha256')).length, 20 * 3 + 1);
});

test('GC: what was asked for stays for the grace period, then what nothing leads to goes', async (t) => {
  const clock = createFakeClock();
  const registry = await startLiveRegistry(t, { clock });
  const digest = await registry.pushBlob('shop/web', 'orphan');
  const rules = { graceMs: 60_000, deleteUntagged: false, cacheBytes: 0 };
  await clock.advance(50_000);
  assert.equal((await registry.send('HEAD', `/v2/shop/web/blobs/${digest}`)).status, 200);
  await clock.advance(50_000);
  assert.equal((await collectGarbage({ ...registry, clock }, rules)).links, 0);
  await clock.advance(50_000);
  const garbage = await collectGarbage({ ...registry, clock }, rules);
  assert.deepEqual(garbage, { uploads: 0, manifests: 0, links: 1, blobs: 1, bytes: 6 });
  assert.deepEqual(registry.store.names(), []);
});

test('anything but a path of a registry is 404, and a method it does not have 405', async (t) => {
  const registry = await startLiveRegistry(t);
  for (const path of ['/', '/v1/', '/v2/a', '/v2/a/b/c', '/token', '/v2/a/manifests']) {
    assert.equal((await registry.send('GET', path)).status, 404, path);
  }
  const wrong = await registry.send('POST', '/v2/shop/web/manifests/v1');
  assert.deepEqual([wrong.status, codeOf(wrong)], [405, 'UNSUPPORTED']);
  assert.match(wrong.body.toString(), /GET, HEAD, PUT, DELETE/);
});

async function assertComplete(registry: LiveRegistry, repository: string, tag: string): Promise<void> {
  const { status, body } = await registry.send('GET', `/v2/${repository}/manifests/${tag}`);
  assert.equal(status, 200, `${repository}:${tag}`);
  const { config, layers } = JSON.parse(body.toString()) as {
    config: { digest: string };
    layers: { digest: string }[];
  };
  for (const { digest } of [config, ...layers]) {
    const blob = await registry.send('GET', `/v2/${repository}/blobs/${digest}`);
    assert.deepEqual([blob.status, digestOf(blob.body)], [200, digest], `${repository}:${tag}`);
  }
}

async function* endless(): AsyncGenerator<Buffer> {
  for (;;) yield Buffer.alloc(65_536, 32);
}

async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 300) yield bytes.subarray(at, at + 300);
}
