import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeInstance } from '../../../../lib/instance.ts';
import { createLinkRemover } from '../../../../runtime-shim/network/link-remover.ts';

test('links that are to go during a removal go together in the next', async () => {
  const leaving = new Set<string>();
  const calls: string[][] = [];
  let finish = (): void => undefined;
  const remove = createLinkRemover(describeInstance('/h', '/r'), leaving, async (names) => {
    calls.push([...names]);
    await new Promise<void>((resolve) => (finish = resolve));
  });
  const first = remove('a');
  await Promise.resolve();
  const rest = [remove('b'), remove('c')];
  assert.deepEqual([...leaving], ['a', 'b', 'c']);
  finish();
  await first;
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([...leaving], ['b', 'c']);
  finish();
  await Promise.all(rest);
  assert.deepEqual(calls, [['a'], ['b', 'c']]);
  assert.equal(leaving.size, 0);
});

test('a removal that fails is told to its callers and does not stop the next', async () => {
  let count = 0;
  const remove = createLinkRemover(describeInstance('/h', '/r'), new Set(), () => {
    count += 1;
    return count === 1 ? Promise.reject(new Error('refused')) : Promise.resolve();
  });
  await assert.rejects(remove('a'), /refused/);
  await remove('a');
  assert.equal(count, 2);
});
