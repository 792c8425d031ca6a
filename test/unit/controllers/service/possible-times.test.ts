import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTimeCorrection, withPossibleTimes } from '../../../../controllers/service/possible-times.ts';
import { isAvailable } from '../../../../controllers/service/slots.ts';
import type { Container } from '../../../../crds/container.ts';
import { makeContainer, NOW, readyCondition, secondsAgo } from '../../../support/objects.ts';

/** Made a minute ago; Ready and started since so many seconds, by the clock of its node. */
const readySince = (seconds: number): Container =>
  makeContainer('web-1', {
    metadata: { creationTimestamp: secondsAgo(60) },
    status: {
      phase: 'Running',
      startedAt: secondsAgo(seconds),
      conditions: [readyCondition('True', { seconds })],
      lastTermination: { exitCode: 1, finishedAt: secondsAgo(seconds) } as never,
    },
  });

test('times that can be are left as they are', () => {
  const correct = createTimeCorrection({ now: () => NOW });
  for (const seconds of [-1, 0, 30, 61]) {
    const container = readySince(seconds);
    assert.equal(correct(container), container);
  }
  assert.deepEqual(correct(makeContainer('new')), makeContainer('new'));
});

test('a time that is to come, or lies before the Container was made, is when it was first seen', () => {
  for (const seconds of [-600, 600]) {
    let now = NOW;
    const correct = createTimeCorrection({ now: () => now });
    const { status } = correct(readySince(seconds));
    assert.deepEqual(
      [status?.startedAt, status?.conditions?.[0]?.lastTransitionTime, status?.lastTermination?.finishedAt],
      [secondsAgo(0), secondsAgo(0), secondsAgo(0)],
    );
    now += 5_000;
    assert.equal(correct(readySince(seconds)).status?.startedAt, secondsAgo(0), 'the first moment counts');
    assert.equal(isAvailable(correct(readySince(seconds)), 10, now), false);
    assert.equal(isAvailable(correct(readySince(seconds)), 5, now), true);
  }
});

test('withPossibleTimes() answers the same for a Container of the cache, and anew for its next version', () => {
  let now = NOW;
  let cached = readySince(-600);
  const index = withPossibleTimes({ get: () => [cached] }, { now: () => now });
  const [first] = index.get('web');
  now += 5_000;
  assert.equal(index.get('web')[0], first);
  assert.equal(first?.status?.startedAt, secondsAgo(0));
  cached = readySince(30);
  assert.equal(index.get('web')[0], cached);
});
