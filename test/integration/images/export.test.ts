import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createWriteStream, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { ExportFormat } from '../../../runtime-shim/images/image-service.ts';
import { openTestImages, type TestImages } from '../../support/image-service.ts';
import { makeImage, writeOciLayout, type TestImage } from '../../support/images.ts';
import { requireRoot } from '../../support/require.ts';

const signal = AbortSignal.timeout(60_000);

async function imported(images: TestImages, image: TestImage, folder: string, ...references: string[]): Promise<void> {
  writeOciLayout(join(images.home, folder), image);
  await images.service.import(join(images.home, folder), { references, signal });
}

async function exported(images: TestImages, names: readonly string[], format: ExportFormat): Promise<string> {
  const path = join(images.home, `${format}-${names.length}.tar`);
  await pipeline(images.service.export(names, format, signal), createWriteStream(path));
  return path;
}

const skopeo = (...args: string[]): string => execFileSync('skopeo', args, { encoding: 'utf8' });

for (const compression of ['gzip', 'zstd', 'none'] as const) {
  test(`export() of ${compression} layers round-trips: skopeo and import() read both forms`, async (t) => {
    if (!requireRoot(t)) return;
    await using images = await openTestImages();
    const layers = [[{ name: 'a', content: 'a'.repeat(5000) }], [{ name: 'b', content: 'b' }]];
    const image = makeImage({ layers, compression, config: { Cmd: ['sh'] } });
    await imported(images, image, 'in', 'busybox:x', 'windlass.local/second:1');

    const layout = await exported(images, ['busybox:x'], 'oci-layout');
    const raw = skopeo('inspect', '--raw', `oci-archive:${layout}:x`);
    assert.equal(raw, image.blobs.get(image.manifest.digest)?.toString('utf8'));
    const archive = await exported(images, ['busybox:x'], 'docker-archive');
    const config = skopeo('inspect', '--raw', '--config', `docker-archive:${archive}:docker.io/library/busybox:x`);
    assert.equal(config, image.blobs.get(image.config.digest)?.toString('utf8'));
    skopeo('copy', '--quiet', `docker-archive:${archive}`, `oci:${join(images.home, 'copied')}:x`);

    await using other = await openTestImages();
    const fromLayout = await other.service.import(layout, { references: [], signal });
    assert.equal(fromLayout.manifestDigest, image.manifest.digest);
    assert.deepEqual(fromLayout.repoTags, ['docker.io/library/busybox:x']);
    await other.service.remove(fromLayout.id);
    const fromArchive = await other.service.import(archive, { references: [], signal });
    assert.equal(fromArchive.id, image.config.digest);
    assert.deepEqual(fromArchive.repoTags, ['docker.io/library/busybox:x']);
    const fromSkopeo = await other.service.import(join(images.home, 'copied'), { references: ['x:1'], signal });
    assert.deepEqual(
      fromSkopeo.layers.map(({ diffId }) => diffId),
      image.tars.map((_, index) => images.service.find('busybox:x')?.layers[index]?.diffId),
    );
  });
}

test('export() puts several images into one tar, equal layers once, and all names of an image asked for by id', async (t) => {
  if (!requireRoot(t)) return;
  await using images = await openTestImages();
  const base = [{ name: 'base', content: 'base'.repeat(1000) }];
  const one = makeImage({ layers: [base], config: { Cmd: ['one'] } });
  const two = makeImage({ layers: [base, [{ name: 'two', content: '2' }]], config: { Cmd: ['two'] } });
  await imported(images, one, 'one', 'windlass.local/one:1', 'windlass.local/uno:1');
  await imported(images, two, 'two', 'windlass.local/two:1');
  const names = [one.config.digest, 'windlass.local/two:1'];
  const listed = (path: string): string[] => execFileSync('tar', ['-tf', path], { encoding: 'utf8' }).split('\n');
  const archive = await exported(images, names, 'docker-archive');
  assert.equal(listed(archive).filter((name) => name.endsWith('/layer.tar')).length, 2);
  const manifest = execFileSync('tar', ['-xOf', archive, 'manifest.json'], { encoding: 'utf8' });
  assert.deepEqual(
    (JSON.parse(manifest) as { RepoTags: string[] }[]).map(({ RepoTags }) => RepoTags),
    [['windlass.local/one:1', 'windlass.local/uno:1'], ['windlass.local/two:1']],
  );
  const layout = await exported(images, names, 'oci-layout');
  const blobs = listed(layout).filter((name) => name.startsWith('blobs/sha256/') && !name.endsWith('/'));
  assert.equal(blobs.length, new Set([...one.blobs.keys(), ...two.blobs.keys()]).size);
});

test('export() names an image that is absent, and a layer that is damaged', async (t) => {
  if (!requireRoot(t)) return;
  await using images = await openTestImages();
  const image = makeImage();
  await imported(images, image, 'in', 'windlass.local/one:1');
  await assert.rejects(exported(images, ['absent'], 'oci-layout'), { reason: 'NotFound' });
  const blob = image.layers[0]?.digest as string;
  const bytes = gunzipSync(image.blobs.get(image.layers[0]?.digest as never) as Buffer);
  bytes[0] = (bytes[0] as number) ^ 1;
  writeFileSync(join(images.home, 'content/blobs', blob.replace(':', '/')), gzipSync(bytes));
  await assert.rejects(exported(images, ['windlass.local/one:1'], 'docker-archive'), {
    reason: 'Invalid',
    message: new RegExp(`layer ${blob} has digest`),
  });
});
