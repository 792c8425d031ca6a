import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatSize } from '../../../lib/quantity.ts';

test("formatSize() has three digits and Docker's units", () => {
  assert.deepEqual([0, 999, 1000, 3_123_827, 999_999, 24_512, 5e9].map(formatSize), [
    '0B',
    '999B',
    '1kB',
    '3.12MB',
    '1MB',
    '24.5kB',
    '5GB',
  ]);
});
