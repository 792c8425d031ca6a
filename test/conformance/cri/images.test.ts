// Images from a registry on loopback that stands in for public ones by the mirror table.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import type { Image } from '../../../cri/stats-messages.ts';
import { busyboxFiles, makeImage, type TestImage } from '../../support/images.ts';
import { collect, criSuite } from '../../support/cri-suite.ts';
import { startTestRegistry, type TestRegistry } from '../../support/registry.ts';

const HOSTS = ['registry-one.example', 'registry-two.example'];
let registry: TestRegistry | undefined;
const folder = mkdtempSync(join(tmpdir(), 'windlass-mirrors-'));
const suite = criSuite(async () => {
  registry = await startTestRegistry();
  const registries = Object.fromEntries(HOSTS.map((host) => [host, { mirrors: [`http://${registry?.host}`] }]));
  writeFileSync(join(folder, 'registries.json'), JSON.stringify({ registries }));
  return { flags: ['--registries-config', join(folder, 'registries.json')] };
});
after(async () => {
  await registry?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const image = (marker: string, config: object = {}): TestImage =>
  makeImage({
    layers: [[{ name: marker, content: marker }]],
    config: { Cmd: ['/none'], Labels: { marker }, ...config },
  });
const push = async (content: TestImage, repository: string, ...tags: string[]): Promise<void> => {
  for (const tag of tags) await registry?.push(content, repository, tag);
};
const pull = async (reference: string): Promise<string> =>
  (await suite.shim.cri.images.pullImage({ image: { image: reference } })).imageRef;
const status = async (reference: string): Promise<Image | null> =>
  (await suite.shim.cri.images.imageStatus({ image: { image: reference } })).image;
const remove = (reference: string) => suite.shim.cri.images.removeImage({ image: { image: reference } });
const listTags = async (): Promise<string[]> =>
  (await suite.shim.cri.images.listImages({})).images.flatMap(({ repoTags }) => repoTags).toSorted();
const one = (path: string): string => `${HOSTS[0]}/${path}`;
const two = (path: string): string => `${HOSTS[1]}/${path}`;

suite.test('an image is pulled by tag, without a tag and by digest; the answer is its id', async () => {
  const content = image('pull');
  await push(content, 'test/pull', 'v1', 'latest');
  const digest = content.manifest.digest;
  for (const reference of [one('test/pull:v1'), one('test/pull'), one(`test/pull@${digest}`)]) {
    const id = await pull(reference);
    const found = await status(reference);
    assert.deepEqual([id, found?.id, (found?.size ?? 0) > 0], [content.config.digest, content.config.digest, true]);
    assert.ok(found?.repoDigests.includes(one(`test/pull@${digest}`)), reference);
    await remove(reference);
    assert.equal(await status(reference), null, 'gone right after its removal');
  }
});

suite.test('the status is found by every kind of reference, and is empty for what is not there', async () => {
  const content = image('references');
  await push(content, 'test/references', 'v1');
  const id = await pull(one('test/references:v1'));
  const digest = one(`test/references@${content.manifest.digest}`);
  for (const reference of [one('test/references:v1'), digest, id, id.slice(7), id.slice(7, 25)]) {
    assert.equal((await status(reference))?.id, id, reference);
  }
  assert.deepEqual((await status(id))?.repoTags, [one('test/references:v1')]);
  assert.deepEqual((await status(id))?.repoDigests, [digest]);
  for (const absent of [one('test/none:v1'), `sha256:${'0'.repeat(64)}`]) assert.equal(await status(absent), null);
  const { info } = await suite.shim.cri.images.imageStatus({ image: { image: id }, verbose: true });
  const { imageSpec } = JSON.parse(info['info'] ?? '') as { imageSpec: { config: { Labels: object } } };
  assert.deepEqual(imageSpec.config.Labels, { marker: 'references' });
  await remove(id);
});

suite.test('the user of an image is a number or a name', async () => {
  for (const [index, [user, uid, username]] of (
    [
      ['1002', { value: 1002 }, ''],
      ['www-data', null, 'www-data'],
      ['1003:1004', { value: 1003 }, ''],
      ['www-data:1004', null, 'www-data'],
    ] as const
  ).entries()) {
    await push(image(`user-${index}`, { User: user }), `test/user-${index}`, 'v1');
    await pull(one(`test/user-${index}:v1`));
    const found = await status(one(`test/user-${index}:v1`));
    assert.deepEqual([found?.uid, found?.username], [uid, username]);
    await remove(found?.id ?? '');
  }
});

suite.test('the list shows images once with all their tags, filtered and streamed', async () => {
  const { images } = suite.shim.cri;
  for (const name of ['a', 'b', 'c']) {
    await push(image(name), `test/list-${name}`, 'v1');
    await pull(one(`test/list-${name}:v1`));
  }
  const tags = ['1', '2', '3'];
  const content = image('tags');
  await push(content, 'test/tags', ...tags);
  for (const tag of tags) await pull(one(`test/tags:${tag}`));
  const all = (await images.listImages({})).images;
  assert.equal(new Set(all.map(({ id }) => id)).size, all.length);
  const tagged = all.find(({ id }) => id === content.config.digest);
  assert.deepEqual(
    tagged?.repoTags.toSorted(),
    tags.map((tag) => one(`test/tags:${tag}`)),
  );
  const filter = { image: { image: one('test/list-b:v1') } };
  assert.deepEqual(
    (await images.listImages({ filter })).images.map(({ repoTags }) => repoTags),
    [[filter.image.image]],
  );
  assert.deepEqual(
    (await collect(images.streamImages({}))).flatMap((message) => message.images),
    all,
  );
  assert.deepEqual(await collect(images.streamImages({ filter: { image: { image: one('test/none:1') } } })), []);
  await remove(one('test/tags:2'));
  assert.ok(!(await listTags()).some((tag) => tag.includes('test/tags')), 'one tag takes all along');
  for (const name of ['a', 'b', 'c']) await remove(one(`test/list-${name}:v1`));
});

suite.test('the same image under two registries has one id, and goes with either', async () => {
  await push(image('twin'), 'test/twin', 'v1');
  const ids = [await pull(one('test/twin:v1')), await pull(two('test/twin:v1'))];
  assert.equal(ids[0], ids[1]);
  assert.deepEqual((await status(ids[0] ?? ''))?.repoTags.toSorted(), [one('test/twin:v1'), two('test/twin:v1')]);
  await remove(one('test/twin:v1'));
  assert.equal(await status(two('test/twin:v1')), null);
});

suite.test('a pull whose deadline has passed ends in DeadlineExceeded, though the image is there', async () => {
  await push(image('deadline'), 'test/deadline', 'v1');
  await pull(one('test/deadline:v1'));
  const late = suite.shim.cri.images.pullImage({ image: { image: one('test/deadline:v1') } }, { timeoutMs: 1 });
  await assert.rejects(late, { reason: 'Timeout' });
  const handler = { image: one('test/deadline:v1'), runtimeHandler: 'kata' };
  await assert.rejects(suite.shim.cri.images.pullImage({ image: handler }), { reason: 'Invalid', message: /kata/ });
  await remove(one('test/deadline:v1'));
});

suite.test('removals at once all succeed, and so does one of what is not there', async () => {
  await push(image('race'), 'test/race', 'v1');
  const id = await pull(one('test/race:v1'));
  await Promise.all(Array.from({ length: 5 }, () => remove(one('test/race:v1'))));
  assert.equal(await status(id), null);
  await remove(one('test/race:v1'));
});

suite.test('the image id is the same in pull, image, container and lists', async () => {
  const content = makeImage({ layers: [busyboxFiles()], config: { Cmd: ['/bin/sleep', '1000'] } });
  await push(content, 'test/runs', 'v1');
  const id = await pull(one('test/runs:v1'));
  const sandbox = await suite.shim.runSandbox('image-id');
  const config = { image: { image: id, userSpecifiedImage: one('test/runs:v1') } };
  const containerId = await suite.shim.create(sandbox, config);
  const { containers } = await suite.shim.cri.runtime.listContainers({ filter: { id: containerId } });
  const seen = await suite.shim.status(containerId);
  assert.deepEqual([(await status(id))?.id, containers[0]?.imageId, seen.imageId], [id, id, id]);
  assert.equal(seen.imageRef, one(`test/runs@${content.manifest.digest}`));
});

suite.test('disk usage of images and containers is told with the file system it is on', async () => {
  const { imageFilesystems, containerFilesystems } = await suite.shim.cri.images.imageFsInfo({});
  for (const usage of [imageFilesystems[0], containerFilesystems[0]]) {
    assert.ok(suite.shim.instance.home.startsWith(usage?.fsId?.mountpoint ?? 'nowhere'));
    assert.ok((usage?.usedBytes?.value ?? 0) > 0 && (usage?.inodesUsed?.value ?? 0) > 0 && (usage?.timestamp ?? 0) > 0);
  }
});
