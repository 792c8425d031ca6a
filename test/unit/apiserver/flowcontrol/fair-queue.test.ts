import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createFairQueue, type FairQueueLimits } from '../../../../apiserver/flowcontrol/fair-queue.ts';
import { reasonOf } from '../../../../lib/errors.ts';

const limits = (fields: Partial<FairQueueLimits> = {}): FairQueueLimits => ({
  ...{ seats: 1, perFlow: 10, total: 10, maxWaitMs: 60_000 },
  ...fields,
});
const patient = new AbortController().signal;
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('createFairQueue() lets flows take turns, however much one of them asks for', async () => {
  const queue = createFairQueue(limits());
  const leave = await queue.acquire('noisy', patient);
  const served: string[] = [];
  const ask = async (flow: string, name: string): Promise<void> => {
    const free = await queue.acquire(flow, patient);
    served.push(name);
    free();
  };
  const all = [ask('noisy', 'n1'), ask('noisy', 'n2'), ask('noisy', 'n3'), ask('quiet', 'q1'), ask('third', 't1')];
  assert.equal(queue.waiting, 5);
  leave();
  await Promise.all(all);
  assert.deepEqual(served, ['n1', 'q1', 't1', 'n2', 'n3']);
  assert.deepEqual([queue.executing, queue.waiting], [0, 0]);
});

test('createFairQueue() never works on more requests than it has seats', async () => {
  const queue = createFairQueue(limits({ seats: 2 }));
  const leaves = [await queue.acquire('a', patient), await queue.acquire('b', patient)];
  let isServed = false;
  const third = queue.acquire('c', patient).then((leave) => {
    isServed = true;
    return leave;
  });
  await settled();
  assert.deepEqual([isServed, queue.executing, queue.waiting], [false, 2, 1]);
  leaves[0]?.();
  // Twice is once.
  leaves[0]?.();
  (await third)();
  assert.deepEqual([isServed, queue.executing, queue.waiting], [true, 1, 0]);
});

test('createFairQueue() turns away what finds the queue of its flow full, and others not', async () => {
  const queue = createFairQueue(limits({ perFlow: 1 }));
  const leave = await queue.acquire('a', patient);
  const waiting = queue.acquire('a', patient);
  const reasons: string[] = [];
  const refused = await queue.acquire('a', patient, (reason) => reasons.push(reason)).catch((error: unknown) => error);
  assert.equal(reasonOf(refused), 'TooManyRequests');
  assert.deepEqual(reasons, ['queue-full']);
  const other = queue.acquire('b', patient);
  leave();
  (await waiting)();
  (await other)();
  assert.equal(queue.executing, 0);
});

test('createFairQueue() gives no seat to whom has left, or waited too long', async () => {
  const queue = createFairQueue(limits({ maxWaitMs: 1 }));
  const leave = await queue.acquire('a', patient);
  const gone = new AbortController();
  const reasons: string[] = [];
  const note = (reason: string): number => reasons.push(reason);
  const left = queue.acquire('a', gone.signal, note);
  gone.abort();
  await assert.rejects(left, { reason: 'Unavailable' });
  const late = await queue.acquire('a', patient, note).catch((error: unknown) => error);
  assert.equal(reasonOf(late), 'TooManyRequests');
  assert.deepEqual(reasons, ['cancelled', 'time-out']);
  assert.equal(queue.waiting, 0);
  leave();
  (await queue.acquire('a', patient))();
});

test('createFairQueue() lets nobody wait who has left before', async () => {
  const queue = createFairQueue(limits());
  const leave = await queue.acquire('a', patient);
  const reasons: string[] = [];
  await assert.rejects(
    queue.acquire('a', AbortSignal.abort(), (reason) => reasons.push(reason)),
    { reason: 'Unavailable' },
  );
  assert.deepEqual([queue.waiting, reasons], [0, ['cancelled']]);
  leave();
  assert.equal(queue.executing, 0);
});

test('createFairQueue() makes room for a flow that has nothing waiting at the cost of the one that has the most', async () => {
  const queue = createFairQueue(limits({ total: 4 }));
  const leave = await queue.acquire('noisy', patient);
  const ends: string[] = [];
  const ask = async (flow: string, name: string): Promise<void> => {
    try {
      const free = await queue.acquire(flow, patient, (reason) => ends.push(`${name} ${reason}`));
      ends.push(name);
      free();
    } catch (error) {
      assert.equal(reasonOf(error), 'TooManyRequests');
    }
  };
  const asks: readonly (readonly [flow: string, name: string])[] = [
    ...(['n1', 'n2', 'n3', 'n4'] as const).map((name) => ['noisy', name] as const),
    ['a', 'a1'],
    ['noisy', 'n5'],
    ['b', 'b1'],
    ['a', 'a2'],
    ['c', 'c1'],
    // Each has one: it may have one, too.
    ['d', 'd1'],
    ['d', 'd2'],
  ];
  const all = asks.map(([flow, name]) => ask(flow, name));
  await settled();
  assert.deepEqual(ends.splice(0), [
    ...['n4 queue-full', 'n5 queue-full', 'n3 queue-full', 'a2 queue-full', 'n2 queue-full', 'd2 queue-full'],
  ]);
  leave();
  await Promise.all(all);
  assert.deepEqual([ends, queue.waiting, queue.executing], [['n1', 'a1', 'b1', 'c1', 'd1'], 0, 0]);
});

test('createFairQueue() serves those that wait in later turns of the event loop, before those that come', async () => {
  const queue = createFairQueue(limits());
  const leave = await queue.acquire('a', patient);
  const served: string[] = [];
  const ask = async (name: string): Promise<void> => {
    const free = await queue.acquire('a', patient);
    served.push(name);
    free();
  };
  const all = [ask('first'), ask('second')];
  leave();
  // What is free already is not for who comes now.
  all.push(ask('third'));
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  assert.deepEqual(served, []);
  await settled();
  assert.deepEqual(served, ['first']);
  await Promise.all(all);
  assert.deepEqual(served, ['first', 'second', 'third']);
  assert.deepEqual([queue.executing, queue.waiting], [0, 0]);
});
