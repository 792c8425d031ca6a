// A registry as the cache of another one, which is a registry of ours, too.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { silentLogger } from '../../../lib/log.ts';
import { createRegistryClient } from '../../../oci/distribution/create-registry-client.ts';
import { evictOldest } from '../../../registry/store/evict-oldest.ts';
import { createUpstream } from '../../../registry/upstream/create-upstream.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { makeImage, type TestImage } from '../../support/images.ts';
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
