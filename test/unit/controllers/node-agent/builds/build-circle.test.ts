import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeCircle, findBuildCircle } from '../../../../../controllers/node-agent/builds/build-circle.ts';
import type { Image } from '../../../../../crds/image.ts';
import { makeImage } from '../../../../support/objects.ts';

const reference = (name: string): string => `docker.io/shop/${name}:1`;

/** An Image that makes shop/NAME:1 and cannot be built without shop/FROM:1. */
function built(name: string, from?: string): Image {
  const image = makeImage(name, { build: { context: { inline: { Dockerfile: '' } } }, tags: [`shop/${name}:1`] });
  return from === undefined ? image : { ...image, status: { ...image.status, waitsFor: reference(from) } };
}

test('findBuildCircle() follows what each waits for back to the first', () => {
  const [a, b, c] = [built('a', 'b'), built('b', 'c'), built('c', 'a')];
  const circle = findBuildCircle(a, reference('b'), [a, b, c]);
  assert.deepEqual(
    circle?.map((wait) => [wait.name, wait.reference]),
    [
      ['a', reference('b')],
      ['b', reference('c')],
      ['c', reference('a')],
    ],
  );
  assert.match(describeCircle(circle), /first: "a" from .*b:1 of "b", "b" from .*c:1 of "c", "c" from .*a:1 of "a"$/);
});

test('findBuildCircle() knows an Image that is built from its own name', () => {
  const own = built('a');
  const circle = findBuildCircle(own, reference('a'), [own]);
  assert.equal(circle && describeCircle(circle), `image "a" is built from its own name ${reference('a')}`);
  const local = findBuildCircle(own, `windlass.local/${own.metadata.namespace ?? ''}/a:latest`, [own]);
  assert.equal(local?.length, 1);
});

test('findBuildCircle() finds none where one waits for nobody, nobody makes it, or the circle is further on', () => {
  const a = built('a', 'b');
  assert.equal(findBuildCircle(a, reference('b'), [a, built('b')]), undefined);
  assert.equal(findBuildCircle(a, reference('b'), [a]), undefined);
  assert.equal(findBuildCircle(a, reference('b'), [a, built('b', 'c'), built('c', 'b')]), undefined);
  const pulled = makeImage('b', { reference: 'shop/b:1' });
  assert.equal(findBuildCircle(a, reference('b'), [a, pulled]), undefined);
});
