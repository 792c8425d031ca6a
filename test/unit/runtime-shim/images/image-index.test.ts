import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../../../oci/digest.ts';
import type { Descriptor } from '../../../../oci/manifest.ts';
import {
  addNames,
  buildRecords,
  entryName,
  findRecord,
  removeName,
  type LoadedImage,
} from '../../../../runtime-shim/images/image-index.ts';

const makeDescriptor = (text: string): Descriptor => ({ mediaType: 'm', digest: digestOf(text), size: text.length });
const makeLoaded = (text: string): LoadedImage => ({
  descriptor: makeDescriptor(text),
  manifest: { schemaVersion: 2, config: makeDescriptor(`config ${text}`), layers: [] },
  config: { architecture: 'amd64', os: 'linux', config: {}, rootfs: { type: 'layers', diff_ids: [] } },
});
const a = makeLoaded('a');
const b = makeLoaded('b');
const names = (entries: readonly Descriptor[], image: LoadedImage): (string | undefined)[] =>
  entries.filter(({ digest }) => digest === image.descriptor.digest).map(entryName);

test('addNames() moves a tag and keeps the image that lost its last one', () => {
  const before = addNames([], a.descriptor, ['docker.io/library/x:1', 'docker.io/library/x:2']);
  const after = addNames(before, b.descriptor, ['docker.io/library/x:1']);
  assert.deepEqual(names(after, a), ['docker.io/library/x:2']);
  assert.deepEqual(names(after, b), ['docker.io/library/x:1']);
  const last = addNames(after, b.descriptor, ['docker.io/library/x:2']);
  assert.deepEqual(names(last, a), [undefined]);
  assert.deepEqual(names(addNames(last, a.descriptor, ['docker.io/library/y:1']), a), ['docker.io/library/y:1']);
});

test('addNames() without a name keeps the image, once', () => {
  const once = addNames([], a.descriptor, []);
  assert.deepEqual(names(addNames(once, a.descriptor, []), a), [undefined]);
  const named = addNames([], a.descriptor, ['docker.io/library/x:1']);
  assert.deepEqual(addNames(named, a.descriptor, []), named);
});

test('removeName() takes the digests of a repository with its last tag', () => {
  const digest = `docker.io/library/x@${digestOf('a')}`;
  const entries = addNames([], a.descriptor, [
    'docker.io/library/x:1',
    'docker.io/library/x:2',
    digest,
    'other.io/y:1',
  ]);
  const one = removeName(entries, 'docker.io/library/x:1');
  assert.deepEqual(names(one, a), ['docker.io/library/x:2', digest, 'other.io/y:1']);
  assert.deepEqual(names(removeName(one, 'docker.io/library/x:2'), a), ['other.io/y:1']);
  assert.equal(removeName(entries, 'docker.io/library/absent:1'), entries);
});

test('buildRecords() makes one record per configuration, and findRecord() refuses an ambiguous short id', () => {
  const twin: LoadedImage = { ...a, descriptor: makeDescriptor('a, packed otherwise') };
  const images = new Map([a, b, twin].map((image) => [image.descriptor.digest, image]));
  let entries = addNames([], a.descriptor, ['docker.io/library/x:1']);
  entries = addNames(entries, twin.descriptor, ['docker.io/library/x:2']);
  entries = addNames(entries, b.descriptor, ['docker.io/library/z:1']);
  const records = buildRecords(entries, images);
  assert.deepEqual(
    records.map(({ repoTags }) => repoTags),
    [['docker.io/library/x:1', 'docker.io/library/x:2'], ['docker.io/library/z:1']],
  );
  assert.deepEqual(
    buildRecords(entries, images, ['docker.io/library/x:2']).map(({ isPinned }) => isPinned),
    [true, false],
  );
  const id = a.manifest.config.digest;
  for (const text of [id, id.slice(7), id.slice(7, 19), 'x:1', 'library/x:2', a.descriptor.digest]) {
    assert.equal(findRecord(records, text)?.id, id, text);
  }
  for (const text of ['x', 'X', '', id.slice(7, 18), 'sha256:', 'docker.io/library/x@sha256:zz']) {
    assert.equal(findRecord(records, text), undefined, text);
  }
  const clashing = records.map((record) => ({ ...record, id: `sha256:${'a'.repeat(63)}${record.repoTags.length}` }));
  assert.equal(findRecord(clashing, 'a'.repeat(12)), undefined);
});
