import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createWorkQueue } from '../../../../controllers/runtime/workqueue.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

function makeQueue(options: { retryBurst?: number; retriesPerSecond?: number } = {}) {
  const clock = createFakeClock();
  const stop = new AbortController();
  const queue = createWorkQueue(
    { clock, initialBackoffMs: 10, maxBackoffMs: 1000, random: () => 0, ...options },
    stop.signal,
  );
  return { clock, stop, queue };
}

test('add() of a key that is queued already changes nothing', async () => {
  const { queue } = makeQueue();
  queue.add('a');
  queue.add('a');
  queue.add('b');
  assert.equal(queue.depth, 2);
  assert.deepEqual([await queue.get(), await queue.get()], ['a', 'b']);
});

test('add() during the work on a key brings it back after done(), once', async () => {
  const { queue } = makeQueue();
  queue.add('a');
  await queue.get();
  queue.add('a');
  queue.add('a');
  assert.equal(queue.depth, 0);
  queue.done('a');
  assert.equal(queue.depth, 1);
  await queue.get();
  queue.done('a');
  assert.equal(queue.depth, 0);
});

test('get() waits for a key, and gives undefined when its signal fires', async () => {
  const { queue, stop } = makeQueue();
  const waiting = queue.get();
  queue.add('late');
  assert.equal(await waiting, 'late');
  const ended = queue.get();
  stop.abort();
  assert.equal(await ended, undefined);
});

test('two waiting workers get two keys, none gets the same', async () => {
  const { queue } = makeQueue();
  const both = [queue.get(), queue.get()];
  queue.add('a');
  queue.add('b');
  assert.deepEqual(await Promise.all(both), ['a', 'b']);
});

test('addAfter() keeps the earlier of two times', async () => {
  const { queue, clock } = makeQueue();
  queue.addAfter('a', 1000);
  queue.addAfter('a', 100);
  queue.addAfter('a', 500);
  await clock.advance(99);
  assert.equal(queue.depth, 0);
  await clock.advance(1);
  assert.equal(queue.depth, 1);
  await clock.advance(2000);
  assert.equal(queue.depth, 1);
});

test('addRateLimited() doubles the delay up to its maximum, until forget()', () => {
  const { queue } = makeQueue();
  const delays = Array.from({ length: 9 }, () => queue.addRateLimited('a'));
  assert.deepEqual(delays, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
  assert.equal(queue.failures('a'), 9);
  queue.forget('a');
  assert.equal(queue.addRateLimited('a'), 10);
});

test('addRateLimited() holds all keys together to the rate of retries', async () => {
  const { queue, clock } = makeQueue({ retryBurst: 2, retriesPerSecond: 10 });
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((key) => queue.addRateLimited(key)),
    [10, 10, 100, 200],
  );
  await clock.advance(1000);
  assert.equal(queue.addRateLimited('e'), 10);
});

test('delayed keys are dropped when the queue stops', async () => {
  const { queue, clock, stop } = makeQueue();
  queue.addAfter('a', 100);
  stop.abort();
  await clock.advance(200);
  assert.equal(queue.depth, 0);
});
