import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock, timerParts } from '../../../lib/clock.ts';

test('timerParts() splits what a timer cannot wait in one go', () => {
  assert.deepEqual([...timerParts(5)], [5]);
  assert.deepEqual([...timerParts(2 ** 31 - 1)], [2 ** 31 - 1]);
  assert.deepEqual([...timerParts(2 ** 31 + 9)], [2 ** 31 - 1, 10]);
});

test('systemClock.sleep() is still asleep after a moment when the delay is longer than a timer of Node', async () => {
  const stop = new AbortController();
  const asleep = systemClock.sleep(2 ** 31 + 1, stop.signal);
  const first = await Promise.race([asleep.then(() => 'awake'), systemClock.sleep(20).then(() => 'asleep')]);
  assert.equal(first, 'asleep');
  stop.abort();
  await assert.rejects(asleep, { name: 'AbortError' });
});
