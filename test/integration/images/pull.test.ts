import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestOf } from '../../../oci/digest.ts';
import { MEDIA_TYPES } from '../../../oci/media-types.ts';
import { makeImage } from '../../support/images.ts';
import { openTestImages } from '../../support/image-service.ts';
import { startTestRegistry } from '../../support/registry.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';

const signal = new AbortController().signal;

test('pull() brings an image from a real registry that a container can run on', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'docker-registry')) return;
  await using registry = await startTestRegistry();
  await using images = await openTestImages();
  for (const [index, compression] of (['gzip', 'zstd', 'none'] as const).entries()) {
    for (const isDocker of [false, true]) {
      const layers = [
        [
          { name: 'etc/', type: 'directory' as const },
          { name: 'etc/a', content: `${compression}${isDocker}` },
        ],
        [{ name: 'etc/b', content: 'upper' }, { name: '.wh.gone' }],
      ];
      const image = makeImage({ layers, compression, isDocker, config: { Cmd: ['/bin/true'] } });
      const reference = await registry.push(image, `shop/web-${compression}`, isDocker ? 'docker' : 'oci');
      const phases: string[] = [];
      const record = await images.service.pull(reference, undefined, {
        signal,
        onProgress: ({ phase }) => void (phases.at(-1) === phase || phases.push(phase)),
      });
      assert.equal(record.id, image.config.digest);
      assert.equal(record.manifestDigest, image.manifest.digest);
      assert.deepEqual(record.repoTags, [reference]);
      assert.deepEqual(record.repoDigests, [`${registry.host}/shop/web-${compression}@${image.manifest.digest}`]);
      assert.deepEqual(record.config.config.Cmd, ['/bin/true']);
      assert.equal(phases[0], 'Resolving');
      assert.equal(phases.at(-1), 'Done');
      const root = await images.service.prepareRootFilesystem(`c${index}${isDocker}`, record);
      assert.equal(readFileSync(join(root.path, 'etc/a'), 'utf8'), `${compression}${isDocker}`);
      assert.equal(readFileSync(join(root.path, 'etc/b'), 'utf8'), 'upper');
    }
  }
});

test('pull() chooses the platform in a nested index, and names what there is when none fits', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'docker-registry')) return;
  await using registry = await startTestRegistry();
  await using images = await openTestImages();
  const own = makeImage({ layers: [[{ name: 'mine', content: '1' }]] });
  const other = makeImage({ layers: [[{ name: 'other', content: '2' }]], architecture: 's390x' });
  const { architecture } = (await import('../../../oci/platform.ts')).hostPlatform();
  await registry.push(own, 'multi', 'own');
  await registry.push(other, 'multi', 'other');
  const index = (manifests: unknown[]): Buffer =>
    Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests }));
  const foreign = { ...other.manifest, platform: { os: 'linux', architecture: 's390x' } };
  const inner = index([foreign, { ...own.manifest, platform: { os: 'linux', architecture } }]);
  await registry.putManifest('multi', 'inner', MEDIA_TYPES.ociIndex, inner);
  const outer = index([foreign, { mediaType: MEDIA_TYPES.ociIndex, digest: digestOf(inner), size: inner.length }]);
  await registry.putManifest('multi', 'outer', MEDIA_TYPES.ociIndex, outer);
  await registry.putManifest('multi', 'foreign', MEDIA_TYPES.ociIndex, index([foreign]));

  const record = await images.service.pull(`${registry.host}/multi:outer`, undefined, { signal });
  assert.equal(record.id, own.config.digest);
  assert.ok(record.repoDigests.includes(`${registry.host}/multi@${digestOf(outer)}`));
  await assert.rejects(images.service.pull(`${registry.host}/multi:foreign`, undefined, { signal }), {
    reason: 'NotFound',
    message: /no image for linux\/.* it has linux\/s390x$/,
  });
});

test('find() knows an image by id, short id, tag, digest and short name; remove() drops all its tags', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'docker-registry')) return;
  await using registry = await startTestRegistry();
  await using images = await openTestImages();
  const image = makeImage();
  const one = await registry.push(image, 'a/b', '1');
  const two = await registry.push(image, 'a/b', '2');
  await images.service.pull(one, undefined, { signal });
  const { id } = await images.service.pull(two, undefined, { signal });
  await images.service.tag(two, 'local/name');
  const digest = `${registry.host}/a/b@${image.manifest.digest}`;
  for (const name of [id, id.slice(7), id.slice(7, 19), one, two, digest, 'local/name', 'local/name:latest']) {
    assert.equal(images.service.find(name)?.id, id, name);
  }
  assert.equal(images.service.find('local/other'), undefined);
  assert.deepEqual(images.service.find(id)?.repoTags, [one, two, 'docker.io/local/name:latest'].toSorted());
  assert.equal((await images.restart()).find(one)?.id, id);
  await images.service.remove(one);
  assert.deepEqual(images.service.list(), []);
  await images.service.remove(one);
});

test('pull() of many callers at once is one pull, and one caller giving up does not end it', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'docker-registry')) return;
  await using registry = await startTestRegistry();
  await using images = await openTestImages();
  const reference = await registry.push(makeImage(), 'many', '1');
  const impatient = new AbortController();
  const first = images.service.pull(reference, undefined, { signal: impatient.signal });
  const rest = Array.from({ length: 5 }, () => images.service.pull(reference, undefined, { signal }));
  impatient.abort(new Error('gone'));
  await assert.rejects(first, /gone/);
  const ids = new Set((await Promise.all(rest)).map(({ id }) => id));
  assert.equal(ids.size, 1);
});

test('pull() of a tag that moved gives the new image and keeps the old one without the tag', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'docker-registry')) return;
  await using registry = await startTestRegistry();
  await using images = await openTestImages();
  const old = makeImage({ layers: [[{ name: 'v', content: '1' }]] });
  const reference = await registry.push(old, 'moving', 'tag');
  await images.service.pull(reference, undefined, { signal });
  const next = makeImage({ layers: [[{ name: 'v', content: '2' }]] });
  await registry.push(next, 'moving', 'tag');
  assert.equal((await images.service.pull(reference, undefined, { signal })).id, next.config.digest);
  assert.deepEqual(images.service.find(old.config.digest)?.repoTags, []);
  assert.equal(images.service.list().length, 2);
});

test('pull() names a registry that is down and a tag that is unknown', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'docker-registry')) return;
  await using registry = await startTestRegistry();
  await using images = await openTestImages();
  await assert.rejects(images.service.pull('127.0.0.1:1/x:1', undefined, { signal }), {
    reason: 'Unavailable',
    message: 'registry 127.0.0.1:1 cannot be reached: ECONNREFUSED',
  });
  await assert.rejects(images.service.pull(`${registry.host}/no/such:1`, undefined, { signal }), {
    reason: 'NotFound',
    message: `manifest unknown: ${registry.host}/no/such:1 is not at registry ${registry.host}`,
  });
});

test('a mirror answers for another registry host', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'docker-registry')) return;
  await using registry = await startTestRegistry();
  await registry.push(makeImage(), 'library/busybox', 'latest');
  const mirrors = { mirrors: [`http://${registry.host}`], tokenHosts: [] };
  await using images = await openTestImages({ registries: { registries: { 'docker.io': mirrors } } });
  const record = await images.service.pull('busybox', undefined, { signal });
  assert.deepEqual(record.repoTags, ['docker.io/library/busybox:latest']);
});
