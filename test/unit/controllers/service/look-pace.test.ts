import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lookDelayMs } from '../../../../controllers/service/look-pace.ts';

const delay = (containers: number, lookedAt: number | undefined): number =>
  lookDelayMs(containers, { lookedAt, now: 1000 });

test('lookDelayMs() lets what a few Containers do be seen at once, and what many do together', () => {
  assert.equal(delay(19, 1000), 0);
  assert.equal(delay(20, 1000), 10);
  assert.equal(delay(20, 997), 7);
  assert.equal(delay(20, 990), 0);
  assert.equal(delay(30_000, 1000), 50);
});

test('lookDelayMs() waits for nothing before the first look, nor when the clock was set back', () => {
  assert.equal(delay(100, undefined), 0);
  assert.equal(delay(100, 3_600_000), 0);
});
