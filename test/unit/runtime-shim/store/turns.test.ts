import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurns } from '../../../../runtime-shim/store/turns.ts';

test('turns come in order, and others are served between two of them', async () => {
  const turns = createTurns();
  const seen: string[] = [];
  const all = Promise.all(['a', 'b', 'c'].map(async (name) => seen.push((await turns.next(), name))));
  const between = (count: number): void => {
    seen.push('other');
    if (count > 1) setImmediate(between, count - 1);
  };
  setImmediate(between, 3);
  await all;
  assert.deepEqual(seen.slice(0, 5), ['a', 'other', 'b', 'other', 'c']);
  await turns.next();
});
