import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClientLimits } from '../../../../../runtime-shim/network/dns/client-limits.ts';

const count = (times: number, ask: () => boolean): number =>
  Array.from({ length: times }, ask).filter((may) => may).length;

test('createClientLimits() bounds the questions of one client and leaves the others theirs', () => {
  let now = 0;
  const limits = createClientLimits(() => now);
  assert.equal(
    count(10_000, () => limits.mayAsk('10.0.0.2')),
    4000,
  );
  assert.equal(limits.mayAsk('10.0.0.3'), true);
  now = 500;
  assert.equal(
    count(10_000, () => limits.mayAsk('10.0.0.2')),
    1000,
  );
});

test('createClientLimits() bounds what waits and what is connected, and takes it back', async () => {
  const limits = createClientLimits(() => 0);
  const open = Promise.withResolvers<string>();
  const waiting = Array.from({ length: 60 }, () => limits.waiting('10.0.0.2', () => open.promise));
  assert.equal(await limits.waiting('10.0.0.3', () => Promise.resolve('other')), 'other');
  open.resolve('answer');
  const answers = await Promise.all(waiting);
  assert.equal(answers.filter((answer) => answer === 'answer').length, 50);
  assert.equal(await limits.waiting('10.0.0.2', () => Promise.resolve('again')), 'again');
  assert.equal(
    count(20, () => limits.connect('10.0.0.2')),
    16,
  );
  limits.disconnect('10.0.0.2');
  assert.equal(limits.connect('10.0.0.2'), true);
});
