import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSharedWork } from '../../../oci/shared-work.ts';

test('createSharedWork() runs work of one key once, for all who wait', async () => {
  const work = createSharedWork<number>();
  let runs = 0;
  const start = async (): Promise<number> => {
    runs += 1;
    await new Promise((resolve) => setImmediate(resolve));
    return runs;
  };
  const { signal } = new AbortController();
  assert.deepEqual(await Promise.all([work.join('a', signal, start), work.join('a', signal, start)]), [1, 1]);
  assert.equal(await work.join('a', signal, start), 2);
});

test('createSharedWork() stops work only when the last who waits gives up', async () => {
  const work = createSharedWork<string>();
  let stopped = 0;
  const start = (signal: AbortSignal): Promise<string> =>
    new Promise((_, reject) => {
      signal.addEventListener('abort', () => {
        stopped += 1;
        reject(signal.reason as Error);
      });
    });
  const [one, two] = [new AbortController(), new AbortController()];
  const first = work.join('a', one.signal, start);
  const second = work.join('a', two.signal, start);
  one.abort(new Error('one left'));
  await assert.rejects(first, /one left/);
  assert.equal(stopped, 0);
  two.abort(new Error('two left'));
  await assert.rejects(second, /two left/);
  assert.equal(stopped, 1);
  await assert.rejects(work.join('a', AbortSignal.abort(new Error('before')), start), /before/);
});

test('createSharedWork() lets a newcomer begin only when what was stopped is over', async () => {
  const work = createSharedWork<string>();
  const first = new AbortController();
  const { promise: flushed, resolve: flush } = Promise.withResolvers<void>();
  const stopped = work.join('a', first.signal, async (signal) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    await flushed;
    throw signal.reason;
  });
  first.abort();
  await assert.rejects(stopped);
  let hasBegun = false;
  const second = work.join('a', new AbortController().signal, async () => {
    hasBegun = true;
    return 'whole';
  });
  // Whoever leaves while it waits is let go at once.
  const impatient = new AbortController();
  const third = work.join('a', impatient.signal, async () => 'never');
  impatient.abort();
  await assert.rejects(third);
  assert.equal(hasBegun, false);
  flush();
  assert.equal(await second, 'whole');
});
