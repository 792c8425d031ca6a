import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDue, type Measured } from '../../../../runtime-shim/storage/measuring-plan.ts';

const LIMITS = { bytes: 1000, inodes: 100 };
const last: Measured = {
  usage: { usedBytes: 400, inodes: 40 },
  disk: { usedBytes: 50_000, inodes: 5000 },
  atMs: 1000,
  tookMs: 50,
};
const disk = (bytes: number, inodes: number) => ({ usedBytes: 50_000 + bytes, inodes: 5000 + inodes });

test('isDue() looks at a layer that was never measured, unless the kernel holds it', () => {
  assert.deepEqual(
    [isDue(undefined, LIMITS, disk(0, 0), 0, false), isDue(undefined, LIMITS, disk(0, 0), 0, true)],
    [true, false],
  );
});

test('isDue() rests as long as nobody has written what the container had left', () => {
  const at = (bytes: number, inodes: number, nowMs = 1200) => isDue(last, LIMITS, disk(bytes, inodes), nowMs, false);
  assert.deepEqual([at(600, 60), at(601, 0), at(0, 61)], [false, true, true]);
  // Written by others, perhaps: measuring takes a quarter of the time at most.
  assert.equal(at(601, 0, 1149), false);
  // And deleted by others, perhaps.
  assert.equal(at(-5000, 0, 11_000), true);
});

test('isDue() rests longer after a long look, and where the kernel holds the layer', () => {
  const long = { ...last, tookMs: 4000 };
  assert.deepEqual(
    [isDue(long, LIMITS, disk(0, 0), 40_999, false), isDue(long, LIMITS, disk(0, 0), 41_000, false)],
    [false, true],
  );
  assert.deepEqual(
    [isDue(last, LIMITS, disk(9999, 0), 60_999, true), isDue(last, LIMITS, disk(0, 0), 61_000, true)],
    [false, true],
  );
});

test('isDue() does not mind growth that no limit is about', () => {
  assert.equal(isDue(last, { bytes: 1000 }, disk(0, 10_000), 2000, false), false);
});
