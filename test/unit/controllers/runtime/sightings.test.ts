import assert from 'node:assert/strict';
import test from 'node:test';
import { createSightings } from '../../../../controllers/runtime/sightings.ts';

test('createSightings() counts from when a value was seen here, whatever the value says of the time', () => {
  let now = 1_000;
  const { since, retain } = createSightings({ now: () => now });
  assert.equal(since('a', '2099-01-01T00:00:00Z'), 1_000);
  now = 5_000;
  assert.equal(since('a', '2099-01-01T00:00:00Z'), 1_000);
  assert.equal(since('a', '1970-01-01T00:00:00Z'), 5_000);
  assert.equal(since('b', ''), 5_000);
  now = 9_000;
  retain(new Set(['b']));
  assert.deepEqual([since('a', '1970-01-01T00:00:00Z'), since('b', '')], [9_000, 5_000]);
});
