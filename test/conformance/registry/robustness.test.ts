// What clients do at the same time, at the wrong time or half-way, and what a registry that is left alone does.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestOf } from '../../../oci/digest.ts';
import { MEDIA_TYPES } from '../../../oci/media-types.ts';
import { collectGarbage } from '../../../registry/store/collect-garbage.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { codeOf, startLiveRegistry, type LiveRegistry, type Reply } from '../../support/live-registry.ts';
import { waitFor } from '../../support/wait.ts';

const { ociManifest, ociIndex } = MEDIA_TYPES;
const EMPTY = { mediaType: 'application/vnd.oci.empty.v1+json', digest: digestOf('{}'), size: 2 };
const artifact = (rest: object = {}) => ({
  ...{ schemaVersion: 2, mediaType: ociManifest, config: EMPTY, layers: [] as object[] },
  ...rest,
});

const push = ({ send }: LiveRegistry, repository: string, bytes: Buffer): Promise<Reply> =>
  send('POST', `/v2/${repository}/blobs/uploads/?digest=${digestOf(bytes)}`, { body: bytes });

test('pushes that come at once keep a quota that each of them would keep alone', async (t) => {
  const registry = await startLiveRegistry(t, { rules: { maxRepositoryBytes: 4_000_000 } });
  const replies = await Promise.all(Array.from({ length: 5 }, () => push(registry, 'a', randomBytes(3_000_000))));
  assert.deepEqual(
    replies.map(({ status }) => status).toSorted((a, b) => a - b),
    [201, 403, 403, 403, 403],
  );
  assert.equal(registry.store.storedBytes(), 3_000_000);
});

test('blobs that are mounted and manifests that are put at once keep it, too', async (t) => {
  const registry = await startLiveRegistry(t, { rules: { maxRepositoryBytes: 10_000 } });
  const statusesOf = (replies: readonly Reply[]) => replies.map(({ status }) => status).toSorted((a, b) => a - b);
  const blobs = Array.from({ length: 6 }, () => randomBytes(1_500));
  for (const bytes of blobs) await registry.pushBlob('source', bytes);
  await registry.pushBlob('mounted', randomBytes(6_000));
  const mounts = blobs.map((bytes) =>
    registry.send('POST', `/v2/mounted/blobs/uploads/?mount=${digestOf(bytes)}&from=source`),
  );
  assert.deepEqual(statusesOf(await Promise.all(mounts)), [201, 201, 403, 403, 403, 403]);
  assert.equal(registry.store.repository('mounted')?.sizeBytes, 9_000);
  await registry.pushBlob('put', '{}');
  await registry.pushBlob('put', randomBytes(6_000));
  const puts = blobs.map((bytes, index) => {
    const body = JSON.stringify(artifact({ annotations: { noise: bytes.subarray(0, 750).toString('hex') } }));
    const headers = { 'content-type': ociManifest };
    return registry.send('PUT', `/v2/put/manifests/v${index}`, { headers, body });
  });
  assert.deepEqual(statusesOf(await Promise.all(puts)), [201, 201, 403, 403, 403, 403]);
  assert.ok((registry.store.repository('put')?.sizeBytes ?? Infinity) <= 10_000);
});

test('an upload that was refused for its size is gone, and in nobody`s way', async (t) => {
  const registry = await startLiveRegistry(t, { rules: { maxBytes: 1_000_000 } });
  const { headers } = await registry.send('POST', '/v2/a/blobs/uploads/');
  async function* large(): AsyncGenerator<Buffer> {
    for (let count = 0; count < 20; count += 1) yield randomBytes(100_000);
  }
  const refused = await registry.send('PATCH', String(headers.location), { body: large() });
  assert.deepEqual([refused.status, codeOf(refused)], [403, 'DENIED']);
  assert.deepEqual(readdirSync(join(registry.root, 'uploads')), []);
  assert.equal((await push(registry, 'b', randomBytes(900_000))).status, 201);
});

test('too many uploads: one that nobody has gone on with for minutes gives way', async (t) => {
  const clock = createFakeClock();
  const registry = await startLiveRegistry(t, { clock, limits: { maxUploads: 2 } });
  const start = () => registry.send('POST', '/v2/a/blobs/uploads/');
  const first = await start();
  await start();
  assert.equal((await start()).status, 429);
  await clock.advance(6 * 60_000);
  assert.equal((await start()).status, 202);
  assert.equal((await registry.send('GET', String(first.headers.location))).status, 404);
});

test('layers that may not be copied, but were pushed, stay with their image', async (t) => {
  const clock = createFakeClock();
  const registry = await startLiveRegistry(t, { clock });
  await registry.pushBlob('a', '{}');
  const digest = await registry.pushBlob('a', 'of another vendor');
  const layer = {
    mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
    digest,
    size: 17,
    urls: ['https://x.example'],
  };
  await registry.pushManifest('a', 'v1', artifact({ layers: [layer] }));
  await clock.advance(120_000);
  await collectGarbage({ ...registry, clock }, { graceMs: 60_000, deleteUntagged: true, cacheBytes: 0 });
  assert.equal((await registry.send('HEAD', `/v2/a/blobs/${digest}`)).status, 200);
});

test('what is asked for all the time is noted on the disk, too', async (t) => {
  const clock = createFakeClock();
  const registry = await startLiveRegistry(t, { clock });
  const digest = await registry.pushBlob('a', '{}');
  const file = join(registry.root, 'repositories/a/_blobs', digest.replace(':', '-'));
  for (let count = 0; count < 10; count += 1) {
    await clock.advance(30_000);
    await registry.send('HEAD', `/v2/a/blobs/${digest}`);
  }
  await waitFor(() => clock.now() - statSync(file).mtimeMs <= 60_000, { what: 'the note' });
});

test('an index without a tag that is pulled keeps what it lists', async (t) => {
  const clock = createFakeClock();
  const registry = await startLiveRegistry(t, { clock });
  await registry.pushBlob('a', '{}');
  const child = artifact();
  const text = JSON.stringify(child);
  const digest = await registry.pushManifest('a', digestOf(text), child);
  const index = {
    schemaVersion: 2,
    mediaType: ociIndex,
    manifests: [{ mediaType: ociManifest, digest, size: text.length }],
  };
  const own = await registry.pushManifest('a', digestOf(JSON.stringify(index)), index);
  const rules = { graceMs: 60_000, deleteUntagged: true, cacheBytes: 0 };
  for (let count = 0; count < 3; count += 1) {
    await clock.advance(50_000);
    await registry.send('GET', `/v2/a/manifests/${own}`);
    await collectGarbage({ ...registry, clock }, rules);
  }
  assert.equal((await registry.send('GET', `/v2/a/manifests/${digest}`)).status, 200);
  await clock.advance(61_000);
  await collectGarbage({ ...registry, clock }, rules);
  assert.deepEqual(registry.store.repository('a')?.manifests.size ?? 0, 0);
});

test('a page of a browser that calls the registry by a name of its own is refused', async (t) => {
  const registry = await startLiveRegistry(t);
  for (const host of ['evil.example:5050', 'evil.example', '10.0.0.1:5050']) {
    const reply = await registry.send('GET', '/v2/_catalog', { headers: { host } });
    assert.deepEqual([reply.status, codeOf(reply)], [403, 'DENIED'], host);
  }
  for (const host of ['localhost:5050', '[::1]:5050', '127.0.0.5']) {
    assert.equal((await registry.send('GET', '/v2/', { headers: { host } })).status, 200, host);
  }
});

test('a connection on which the registry itself takes its time stays open', async (t) => {
  const bytes = Buffer.from('fetched slowly');
  const digest = digestOf(bytes);
  const registry = await startLiveRegistry(t, {
    idleMs: 100,
    openUpstream: (store) => ({
      registry: 'slow.example',
      fetchManifest: () => Promise.resolve(),
      sizeOf: () => Promise.resolve(bytes.length),
      async fetchBlob(repository) {
        using _held = store.hold(digest);
        // Longer than the connection may be idle; an answer must not depend on how much.
        await new Promise((resolve) => setTimeout(resolve, 500));
        await store.content.put(bytes);
        await store.linkBlob(repository, digest);
        const path = store.content.blobPath(digest);
        return { path, partialPath: path, done: Promise.resolve(), more: () => Promise.resolve() };
      },
    }),
  });
  const { status, body } = await registry.send('GET', `/v2/a/blobs/${digest}`);
  assert.deepEqual([status, body], [200, bytes]);
});

test('who asks first whether to send a body is not told to where it would be refused', async (t) => {
  const registry = await startLiveRegistry(t, { rules: { maxBytes: 10 } });
  const [host = '', port = ''] = registry.host.split(':');
  const socket = connect(Number(port), host);
  let received = '';
  socket.on('data', (chunk: Buffer) => (received += chunk.toString()));
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const digest = digestOf('x'.repeat(1_000));
  socket.write(
    `POST /v2/a/blobs/uploads/?digest=${digest} HTTP/1.1\r\nHost: ${registry.host}\r\n` +
      'Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n',
  );
  await closed;
  assert.match(received, /^HTTP\/1\.1 403 /);
});

test('who refuses half of a body is heard, whatever the client still sends', async (t) => {
  const registry = await startLiveRegistry(t, { rules: { maxBytes: 1_000_000 } });
  const body = randomBytes(40_000_000);
  const reply = await push(registry, 'a', body);
  assert.deepEqual([reply.status, codeOf(reply)], [403, 'DENIED']);
  assert.equal((await registry.send('GET', '/v2/')).status, 200);
});
