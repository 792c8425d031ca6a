import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createUsageCache } from '../../../../runtime-shim/snapshots/usage-cache.ts';

test('createUsageCache() shares a running measurement and rests for ten times as long as it took', async () => {
  let now = 0;
  let count = 0;
  const cache = createUsageCache(
    async () => {
      count += 1;
      now += 5;
      return { usedBytes: count, inodes: 1 };
    },
    () => now,
  );
  const [first, second] = await Promise.all([cache.usage('a'), cache.usage('a')]);
  assert.deepEqual([first.usedBytes, second.usedBytes], [1, 1]);
  now += 49;
  assert.equal((await cache.usage('a')).usedBytes, 1);
  now += 1;
  assert.equal((await cache.usage('a')).usedBytes, 2);
  cache.forget('a');
  assert.equal((await cache.usage('a')).usedBytes, 3);
});

test('a measurement that failed is tried again', async () => {
  const answers = [Promise.reject(new Error('gone')), Promise.resolve({ usedBytes: 1, inodes: 1 })];
  const cache = createUsageCache(async () => answers.shift() ?? assert.fail());
  await assert.rejects(cache.usage('a'), /gone/);
  assert.equal((await cache.usage('a')).usedBytes, 1);
});
