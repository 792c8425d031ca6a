// A registry as the cache of another one, which is a registry of ours, too.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { request, type IncomingMessage, type ServerResponse } from 'node:http';
import { test, type TestContext } from 'node:test';
import { silentLogger } from '../../../lib/log.ts';
import type { Digest } from '../../../oci/digest.ts';
import { createRegistryClient } from '../../../oci/distribution/create-registry-client.ts';
import { evictOldest } from '../../../registry/store/evict-oldest.ts';
import { createUpstream } from '../../../registry/upstream/create-upstream.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { makeImage, type TestImage } from '../../support/images.ts';
import { startBadRegistry } from '../../support/registry.ts';
import { waitFor } from '../../support/wait.ts';
import { codeOf, startLiveRegistry, type LiveRegistry } from '../../support/live-registry.ts';

async function start(t: TestContext) {
  const clock = createFakeClock();
  const origin = await startLiveRegistry(t);
  const client = createRegistryClient({ registries: { registries: {} }, retryDelayMs: 1 });
  t.after(() => client.close());
  const cache = await startLiveRegistry(t, {
    clock,
    openUpstream: (store) =>
      createUpstream({ store, client, clock, log: silentLogger() }, { registry: origin.host, tagMs: 60_000 }),
  });
  return { origin, cache, clock };
}

/** A cache of a registry of which it is told how it behaves. */
async function startCacheOf(t: TestContext, host: string) {
  const clock = createFakeClock();
  const client = createRegistryClient({ registries: { registries: {} }, retryDelayMs: 1 });
  t.after(() => client.close());
  const cache = await startLiveRegistry(t, {
    clock,
    openUpstream: (store) =>
      createUpstream({ store, client, clock, log: silentLogger() }, { registry: host, tagMs: 60_000 }),
  });
  return { cache, clock };
}

/** A GET whose body is watched as it comes. */
async function follow(host: string, path: string, headers: Record<string, string> = {}) {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request(`http://${host}${path}`, { headers, agent: false }, resolve).once('error', reject).end();
  });
  const chunks: Buffer[] = [];
  const received = (): number => chunks.reduce((sum, { length }) => sum + length, 0);
  response.on('data', (chunk: Buffer) => chunks.push(chunk));
  const end = new Promise<Buffer>((resolve, reject) => {
    response.once('end', () => resolve(Buffer.concat(chunks)));
    response.once('error', reject);
  });
  end.catch(() => undefined);
  return {
    ...{ received, end },
    has: (bytes: number) => waitFor(() => received() >= bytes, { what: `${bytes} bytes` }),
    leave: () => void response.destroy(),
  };
}

async function assertServes(registry: LiveRegistry, image: TestImage, reference: string): Promise<void> {
  const manifest = await registry.send('GET', `/v2/shop/web/manifests/${reference}`);
  assert.deepEqual([manifest.status, manifest.body], [200, image.blobs.get(image.manifest.digest)]);
  for (const { digest } of [image.config, ...image.layers]) {
    const { status, body } = await registry.send('GET', `/v2/shop/web/blobs/${digest}`);
    assert.deepEqual([status, body], [200, image.blobs.get(digest)]);
  }
}

test('what is asked for is fetched once and served from then on, also when the other one is gone', async (t) => {
  const { origin, cache, clock } = await start(t);
  const image = makeImage();
  await origin.pushImage(image, 'shop/web', 'v1');
  await assertServes(cache, image, 'v1');
  await origin.send('DELETE', `/v2/shop/web/blobs/${image.layers[0]?.digest}`);
  await assertServes(cache, image, image.manifest.digest);
  const unknown = await cache.send('GET', '/v2/shop/web/manifests/v2');
  assert.deepEqual([unknown.status, codeOf(unknown)], [404, 'MANIFEST_UNKNOWN']);
  assert.ok(clock.now() > 0);
});

test('a tag that moves is seen when it is no longer believed; one that is taken away is gone', async (t) => {
  const { origin, cache, clock } = await start(t);
  const [old, young] = [makeImage(), makeImage({ layers: [[{ name: 'new' }]] })];
  await origin.pushImage(old, 'shop/web', 'v1');
  await assertServes(cache, old, 'v1');
  await origin.pushImage(young, 'shop/web', 'v1');
  await assertServes(cache, old, 'v1');
  await clock.advance(61_000);
  await assertServes(cache, young, 'v1');
  await origin.send('DELETE', '/v2/shop/web/manifests/v1');
  await clock.advance(61_000);
  assert.equal((await cache.send('GET', '/v2/shop/web/manifests/v1')).status, 404);
});

test('an upstream that does not answer: the tag is what it was, and what is not here is 503', async (t) => {
  const clock = createFakeClock();
  const image = makeImage();
  let isDown = false;
  const client = createRegistryClient({ registries: { registries: {} }, retryDelayMs: 1 });
  t.after(() => client.close());
  const origin = await startLiveRegistry(t);
  await origin.pushImage(image, 'shop/web', 'v1');
  const cache = await startLiveRegistry(t, {
    clock,
    openUpstream: (store) => {
      const flaky = {
        ...client,
        resolve: (...args: Parameters<typeof client.resolve>) =>
          isDown ? client.resolve({ ...args[0], registry: '127.0.0.1:1' }, args[1]) : client.resolve(...args),
      };
      return createUpstream({ store, client: flaky, clock, log: silentLogger() }, { registry: origin.host, tagMs: 0 });
    },
  });
  await assertServes(cache, image, 'v1');
  isDown = true;
  await clock.advance(1);
  await assertServes(cache, image, 'v1');
  assert.equal((await cache.send('GET', '/v2/shop/web/manifests/v2')).status, 503);
});

test('a tag that has not moved is asked for without its bytes', async (t) => {
  const image = makeImage();
  await using origin = await startBadRegistry(image, ({ method, url = '' }, response) => {
    if (method === 'HEAD' && url.includes('/manifests/')) {
      response.setHeader('docker-content-digest', image.manifest.digest).end();
      return true;
    }
    return false;
  });
  const { cache, clock } = await startCacheOf(t, origin.host);
  await assertServes(cache, image, 'v1');
  const before = origin.requests.length;
  await clock.advance(61_000);
  await assertServes(cache, image, 'v1');
  assert.deepEqual(
    origin.requests.slice(before).map(({ method, url }) => `${method} ${url}`),
    ['HEAD /v2/shop/web/manifests/v1'],
  );
});

test('a blob is handed on while it comes, to all who ask, and its end not before it is verified', async (t) => {
  const layer = [{ name: 'noise', content: randomBytes(4_000_000) }];
  const image = makeImage({ layers: [layer] });
  const digest = image.layers[0]?.digest as Digest;
  const bytes = image.blobs.get(digest) as Buffer;
  const half = bytes.length / 2;
  const finishes: ((rest: Buffer) => void)[] = [];
  await using origin = await startBadRegistry(image, ({ url = '' }, response) => {
    if (!url.endsWith(digest)) return false;
    response.writeHead(200, { 'content-length': bytes.length }).write(bytes.subarray(0, half));
    finishes.push((rest) => void response.end(rest));
    return true;
  });
  const { cache } = await startCacheOf(t, origin.host);
  await cache.send('GET', '/v2/shop/web/manifests/v1');
  const path = `/v2/shop/web/blobs/${digest}`;
  const head = await cache.send('HEAD', path);
  assert.deepEqual([head.status, head.headers['content-length']], [200, String(bytes.length)]);
  assert.equal(finishes.length, 0, 'HEAD fetches nothing');
  const readers = [await follow(cache.host, path), await follow(cache.host, path, { range: 'bytes=500000-' })];
  // A good part has passed through while the upstream has sent half; the last MiB may wait to be written.
  for (const reader of readers) await reader.has(400_000);
  assert.equal(cache.store.repository('shop/web')?.blobs.has(digest), false);
  assert.ok(readers.every(({ received }) => received() <= half));
  finishes[0]?.(bytes.subarray(half));
  const [whole, part] = await Promise.all(readers.map((reader) => reader.end));
  assert.ok(whole?.equals(bytes) && part?.equals(bytes.subarray(500_000)));
  assert.deepEqual(
    origin.requests.filter(({ url }) => url.endsWith(digest)).map(({ method, range }) => [method, range]),
    [['GET', undefined]],
  );
  assert.ok((await cache.send('GET', path)).body.equals(bytes));
});

/** An upstream that sends a blob as far as it is told to. */
async function startSlowOrigin(t: TestContext) {
  const image = makeImage({ layers: [[{ name: 'noise', content: randomBytes(8_000_000) }]] });
  const digest = image.layers[0]?.digest as Digest;
  const bytes = image.blobs.get(digest) as Buffer;
  const starts: number[] = [];
  const open = new Set<ServerResponse>();
  let allowed = 0;
  const origin = await startBadRegistry(image, ({ url = '', headers }, response) => {
    if (!url.endsWith(digest)) return false;
    const start = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0);
    starts.push(start);
    response.writeHead(start > 0 ? 206 : 200, {
      'content-length': bytes.length - start,
      ...(start > 0 ? { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` } : {}),
    });
    open.add(response);
    response.once('close', () => open.delete(response));
    response.write(bytes.subarray(start, Math.max(start, allowed)));
    return true;
  });
  t.after(() => origin[Symbol.asyncDispose]());
  return {
    ...{ host: origin.host, digest, bytes, starts, open },
    path: `/v2/shop/web/blobs/${digest}`,
    send(end: number): void {
      const begin = allowed;
      allowed = end;
      for (const response of open) {
        if (end < bytes.length) response.write(bytes.subarray(begin, end));
        else response.end(bytes.subarray(begin));
      }
    },
  };
}

test('a download goes on for those who still read when the first has left, and who comes late joins', async (t) => {
  const origin = await startSlowOrigin(t);
  const { bytes, path } = origin;
  const { cache } = await startCacheOf(t, origin.host);
  for (const name of ['web', 'copy']) await cache.send('GET', `/v2/shop/${name}/manifests/v1`);
  origin.send(3_000_000);
  const first = await follow(cache.host, path);
  const others = [await follow(cache.host, path), await follow(cache.host, path.replace('/web/', '/copy/'))];
  for (const one of [first, ...others]) await one.has(1_500_000);
  first.leave();
  // By the time that it has answered this, the cache knows of what was before.
  await cache.send('HEAD', path);
  origin.send(6_000_000);
  // The last MiB may wait to be written; what came before is handed on, though the end is far.
  for (const one of others) await one.has(4_500_000);
  const late = await follow(cache.host, path);
  await late.has(4_500_000);
  assert.equal(origin.open.size, 1);
  origin.send(bytes.length);
  for (const { end } of [...others, late]) assert.ok((await end).equals(bytes));
  assert.deepEqual(origin.starts, [0]);
});

test('a download ends when nobody reads it any more, and goes on where it was for who comes then', async (t) => {
  const origin = await startSlowOrigin(t);
  const { cache } = await startCacheOf(t, origin.host);
  await cache.send('GET', '/v2/shop/web/manifests/v1');
  origin.send(3_000_000);
  const readers = [await follow(cache.host, origin.path), await follow(cache.host, origin.path)];
  for (const one of readers) await one.has(1_500_000);
  for (const one of readers) one.leave();
  await waitFor(() => origin.open.size === 0, { what: 'the download to end' });
  assert.equal(cache.store.content.has(origin.digest), false);
  origin.send(5_000_000);
  const late = await follow(cache.host, origin.path);
  await late.has(3_000_000);
  origin.send(origin.bytes.length);
  assert.ok((await late.end).equals(origin.bytes));
  assert.equal(origin.starts.length, 2);
  assert.ok((origin.starts[1] ?? 0) >= 1_500_000);
});

test('a blob that turns out to be another breaks off, and is not kept', async (t) => {
  const image = makeImage({ layers: [[{ name: 'noise', content: randomBytes(2_000_000) }]] });
  const digest = image.layers[0]?.digest as Digest;
  const { length } = image.blobs.get(digest) as Buffer;
  await using origin = await startBadRegistry(image, ({ url = '' }, response) => {
    if (url.endsWith(digest)) response.end(Buffer.alloc(length, 1));
    return url.endsWith(digest);
  });
  const { cache } = await startCacheOf(t, origin.host);
  await cache.send('GET', '/v2/shop/web/manifests/v1');
  const reader = await follow(cache.host, `/v2/shop/web/blobs/${digest}`);
  await assert.rejects(reader.end, /aborted|ECONNRESET|hang up/);
  assert.ok(reader.received() < length);
  assert.equal(cache.store.content.has(digest), false);
});

test('a cache takes no pushes and answers for its own upstream alone', async (t) => {
  const { cache, origin } = await start(t);
  const push = await cache.send('POST', '/v2/shop/web/blobs/uploads/');
  assert.deepEqual([push.status, codeOf(push)], [405, 'UNSUPPORTED']);
  await origin.pushImage(makeImage(), 'shop/web', 'v1');
  assert.equal((await cache.send('GET', `/v2/shop/web/manifests/v1?ns=${origin.host}`)).status, 200);
  const other = await cache.send('GET', '/v2/shop/web/manifests/v1?ns=elsewhere.example.com');
  assert.deepEqual([other.status, codeOf(other)], [404, 'NAME_UNKNOWN']);
});

test('evictOldest() forgets what was asked for longest ago', async (t) => {
  const { origin, cache, clock } = await start(t);
  const images = ['a', 'b', 'c'].map((content) =>
    makeImage({ layers: [[{ name: 'x', content: content.repeat(50_000) }]], compression: 'none' }),
  );
  for (const [index, image] of images.entries()) {
    await origin.pushImage(image, 'shop/web', `v${index}`);
    await assertServes(cache, image, `v${index}`);
    await clock.advance(1_000);
  }
  // The first one is asked for again: the second is the oldest now.
  await assertServes(cache, images[0] as TestImage, 'v0');
  assert.equal(await evictOldest(cache.store, 150_000), 1);
  assert.deepEqual([...(cache.store.repository('shop/web')?.tags.keys() ?? [])].toSorted(), ['v0', 'v2']);
  assert.ok(cache.store.storedBytes() < 150_000);
});
