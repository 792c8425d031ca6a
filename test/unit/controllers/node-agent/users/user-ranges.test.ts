import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FIRST_ID, openUserRanges, RANGE_SIZE } from '../../../../../controllers/node-agent/users/user-ranges.ts';

test('rangeOf() gives each Container a range of its own, the same after a restart; release() and keepOnly() free it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-unit-ranges-'));
  try {
    const file = join(folder, 'deeper', 'users.json');
    const ranges = openUserRanges(file);
    const nth = (index: number) => ({ hostId: FIRST_ID + index * RANGE_SIZE, length: RANGE_SIZE });
    assert.deepEqual(['a', 'b', 'a', 'c'].map(ranges.rangeOf), [nth(0), nth(1), nth(0), nth(2)]);
    const again = openUserRanges(file);
    assert.deepEqual(again.rangeOf('b'), nth(1));
    again.release('b');
    again.release('unknown');
    assert.deepEqual(['d', 'e'].map(again.rangeOf), [nth(1), nth(3)]);
    again.keepOnly(new Set(['c', 'elsewhere']));
    assert.deepEqual(['f', 'c', 'g', 'h'].map(openUserRanges(file).rangeOf), [nth(0), nth(2), nth(1), nth(3)]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
