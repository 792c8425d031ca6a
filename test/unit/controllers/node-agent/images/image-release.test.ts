import assert from 'node:assert/strict';
import { test } from 'node:test';
import { namesToRelease } from '../../../../../controllers/node-agent/images/image-release.ts';
import { makeContainer, makeImage } from '../../../../support/objects.ts';

const uid = (text: string) => ({ metadata: { uid: text } });
const image = makeImage('app', { reference: 'r.example/app:1', tags: ['app:stable'], ...uid('1') });
const own = ['r.example/app:1', 'docker.io/library/app:stable', 'windlass.local/default/app:latest'];

test('namesToRelease() gives all names of an Image, those it had before included', () => {
  assert.deepEqual(namesToRelease(image, [image], []), own);
  const changed = { ...image, status: { tags: ['docker.io/library/app:old'] } };
  assert.deepEqual(namesToRelease(changed, [changed], []), [...own.slice(0, 2), 'docker.io/library/app:old', own[2]]);
});

test('namesToRelease() leaves what another Image or a Container asks for, unless that Image goes too', () => {
  const other = makeImage('other', { reference: 'r.example/app:1', ...uid('2') });
  assert.deepEqual(namesToRelease(image, [image, other], []), own.slice(1));
  const going = { ...other, metadata: { ...other.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } };
  assert.deepEqual(namesToRelease(image, [image, going], []), own);
  const user = makeContainer('c', { image: 'app:stable' });
  assert.deepEqual(namesToRelease(image, [image], [user]), [own[0], own[2]]);
});
