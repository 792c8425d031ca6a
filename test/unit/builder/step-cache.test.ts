import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { openStepCache, type CachedStep, type StepCacheLimits } from '../../../builder/cache/step-cache.ts';
import { digestOf, type Digest } from '../../../oci/digest.ts';

const LIMITS: StepCacheLimits = { maxBytes: 100, maxAgeMs: 3_600_000 };

function folder(t: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), 'windlass-step-cache-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  return root;
}

const keyOf = (name: string): string => digestOf(name).slice('sha256:'.length);

function step(name: string, size = 10): CachedStep {
  const blob = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: digestOf(`${name} blob`), size };
  const layer = { diffId: digestOf(name), chainId: digestOf(`${name} chain`), blob, usedBytes: size };
  return { key: keyOf(name), layer, newestSeconds: 7, createdBy: `RUN ${name}` };
}

const everything = { has: () => true, blobPath: () => '/nonexistent' };
const protect = (): void => undefined;
const NOTHING: ReadonlySet<Digest> = new Set();

test('a step is found again, also after a restart, for as long as its layer is there', async (t) => {
  const root = folder(t);
  const cache = openStepCache(root, everything, LIMITS);
  await cache.add(step('a'));
  assert.equal((await cache.find(keyOf('a'), protect))?.createdBy, 'RUN a');
  assert.equal(await cache.find(keyOf('b'), protect), undefined);
  const again = openStepCache(root, everything, LIMITS);
  assert.deepEqual((await again.find(keyOf('a'), protect))?.layer, step('a').layer);
  assert.equal(
    await openStepCache(root, { ...everything, has: () => false }, LIMITS).find(keyOf('a'), protect),
    undefined,
  );
});

test('what steps need is kept from garbage collection, and no longer when they are forgotten', async (t) => {
  const cache = openStepCache(folder(t), everything, LIMITS);
  await cache.add(step('a'));
  const { layer } = step('a');
  assert.ok(layer && cache.hasBlob(layer.blob.digest) && cache.hasLayer(layer.chainId));
  assert.equal(await cache.prune(0), 20);
  assert.ok(!cache.hasBlob(layer.blob.digest) && !cache.hasLayer(layer.chainId));
  assert.deepEqual(cache.usage(NOTHING), { entries: 0, sizeBytes: 0, sharedBytes: 0 });
});

test('cache size: those not used for longest go first, and what is asked for counts as used', async (t) => {
  const root = folder(t);
  const cache = openStepCache(root, everything, LIMITS);
  for (const name of ['a', 'b', 'c', 'd', 'e']) await cache.add(step(name));
  await cache.find(keyOf('a'), protect);
  await cache.add(step('f'));
  assert.equal(await cache.find(keyOf('b'), protect), undefined);
  assert.ok(await cache.find(keyOf('a'), protect));
  assert.equal(
    cache.usage(new Set(['a', 'c', 'd', 'e', 'f'].map((name) => digestOf(`${name} blob`)))).sharedBytes,
    100,
  );
  assert.equal(readdirSync(join(root, 'steps')).length, 5);
});

test('what was not used for long goes although there is room', async (t) => {
  const root = folder(t);
  await openStepCache(root, everything, LIMITS).add(step('a'));
  const before = new Date(Date.now() - 2 * LIMITS.maxAgeMs);
  utimesSync(join(root, 'steps', `${keyOf('a')}.json`), before, before);
  const cache = openStepCache(root, everything, LIMITS);
  await cache.add(step('b'));
  assert.deepEqual(cache.usage(NOTHING), { entries: 1, sizeBytes: 20, sharedBytes: 0 });
});

test('damaged records, and what a crash left, are thrown away', async (t) => {
  const root = folder(t);
  openStepCache(root, everything, LIMITS);
  for (const [name, text] of [
    [`${keyOf('x')}.json`, '{'],
    [`${keyOf('y')}.json`, 'null'],
    [`${keyOf('z')}.json`, JSON.stringify({ ...step('z'), layer: { diffId: '../..', blob: {} } })],
    [`${keyOf('v')}.json.tmp`, JSON.stringify(step('v'))],
    [`${keyOf('w')}.json`, JSON.stringify(step('other'))],
  ] as const) {
    writeFileSync(join(root, 'steps', name), text);
  }
  assert.equal(openStepCache(root, everything, LIMITS).usage(NOTHING).entries, 0);
  assert.deepEqual(readdirSync(join(root, 'steps')), []);
});

test('two steps that made one layer are counted once, and keep it both', async (t) => {
  const cache = openStepCache(folder(t), everything, LIMITS);
  await cache.add(step('a'));
  await cache.add({ ...step('a'), key: keyOf('same') });
  assert.equal(cache.usage(NOTHING).sizeBytes, 20);
  await cache.prune(19);
  const { layer } = step('a');
  assert.ok(layer && !cache.hasBlob(layer.blob.digest));
});

test('two builds add the same step at once', async (t) => {
  const root = folder(t);
  const cache = openStepCache(root, everything, LIMITS);
  await Promise.all([cache.add(step('a')), cache.add(step('a'))]);
  assert.deepEqual(readdirSync(join(root, 'steps')), [`${keyOf('a')}.json`]);
});

test('the first layer on scratch, whose two digests are one, is let go of as a whole', async (t) => {
  const cache = openStepCache(folder(t), everything, LIMITS);
  const { layer, ...rest } = step('a');
  assert.ok(layer);
  await cache.add({ ...rest, layer: { ...layer, chainId: layer.blob.digest } });
  assert.equal(await cache.prune(0), 20);
  assert.equal(cache.usage(NOTHING).sizeBytes, 0);
  assert.ok(!cache.hasBlob(layer.blob.digest) && !cache.hasLayer(layer.blob.digest));
});

test('after a reboot a layer is read before it is believed', async (t) => {
  const root = folder(t);
  const blobPath = (): string => join(root, 'blob');
  const bytes = 'the bytes of the layer';
  const blob = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: digestOf(bytes), size: bytes.length };
  const layer = { diffId: blob.digest, chainId: blob.digest, blob, usedBytes: 1 };
  await openStepCache(root, everything, LIMITS).add({ ...step('a'), layer });
  const file = join(root, 'steps', `${keyOf('a')}.json`);
  const reboot = (text: string): void => {
    writeFileSync(blobPath(), text);
    writeFileSync(file, readFileSync(file, 'utf8').replace(/"bootId":"[^"]*"/, '"bootId":"before"'));
  };
  reboot(bytes);
  assert.ok(await openStepCache(root, { ...everything, blobPath }, LIMITS).find(keyOf('a'), protect));
  reboot(bytes.replaceAll(/./g, '\0'));
  assert.equal(await openStepCache(root, { ...everything, blobPath }, LIMITS).find(keyOf('a'), protect), undefined);
  assert.deepEqual(readdirSync(join(root, 'steps')), []);
});
