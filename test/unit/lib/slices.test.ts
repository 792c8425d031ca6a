import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mapSlices, SLICE } from '../../../lib/slices.ts';

test('mapSlices() keeps the order, and lets others have their turn between slices', async () => {
  const items = Array.from({ length: 3 * SLICE + 1 }, (_, index) => index);
  const seen: string[] = [];
  const work = mapSlices(items, (slice) => {
    seen.push('slice');
    return slice;
  });
  setImmediate(() => seen.push('other'));
  assert.deepEqual((await work).flat(), items);
  assert.equal(seen.filter((each) => each === 'slice').length, 4);
  assert.notEqual(seen.at(-1), 'other');
  assert.ok(seen.includes('other'));
  assert.deepEqual(await mapSlices([], (slice) => slice.length), [0]);
});
