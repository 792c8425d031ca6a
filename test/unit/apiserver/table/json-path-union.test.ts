import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseJsonPath } from '../../../../apiserver/table/json-path.ts';

test('a union of names gives those that are there, in its order', () => {
  const path = parseJsonPath(".spec['image','imageName']");
  assert.deepEqual(path.evaluate({ spec: { imageName: 'web' } }), ['web']);
  assert.deepEqual(path.evaluate({ spec: { imageName: 'web', image: 'nginx' } }), ['nginx', 'web']);
  assert.deepEqual(path.evaluate({ spec: {} }), []);
  assert.equal(path.fields, undefined);
  assert.deepEqual(
    parseJsonPath("{.a[ 'it\\'s' , 'b' ].c}").evaluate({ a: { "it's": { c: 1 }, b: { c: 2 } } }),
    [1, 2],
  );
});
