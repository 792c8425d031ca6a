import assert from 'node:assert/strict';
import { test } from 'node:test';
import { statusDelayMs } from '../../../../controllers/service/status-pace.ts';
import type { ServiceStatus } from '../../../../crds/service.ts';
import { readyCondition } from '../../../support/objects.ts';

const status = (readyReplicas: number, change: Partial<ServiceStatus> = {}): ServiceStatus => ({
  observedGeneration: 1,
  desiredReplicas: 5,
  replicas: 5,
  readyReplicas,
  conditions: [readyCondition(readyReplicas === 5 ? 'True' : 'False', { message: `${readyReplicas} of 5 Ready` })],
  ...change,
});
const delay = (current: ServiceStatus | undefined, next: ServiceStatus, writtenAt: number | undefined = 900): number =>
  statusDelayMs(current, next, { writtenAt, now: 1000 });

test('numbers that change again soon wait for the next write', () => {
  assert.equal(delay(status(1), status(2)), 100);
  assert.equal(delay(status(1), status(2), 700), 0);
  assert.equal(delay(status(1), status(2), 0), 0);
  // The clock was set back.
  assert.equal(delay(status(1), status(2), 3_600_000), 0);
});

test('what anybody may be waiting for is written at once', () => {
  assert.equal(delay(undefined, status(1)), 0);
  assert.equal(delay(status(4), status(5)), 0);
  assert.equal(delay(status(5), status(4)), 0);
  assert.equal(delay(status(1), status(2, { observedGeneration: 2 })), 0);
  assert.equal(delay(status(1), status(2, { desiredReplicas: 2, replicas: 2 })), 0);
  assert.equal(statusDelayMs(status(1), status(2), { writtenAt: undefined, now: 1000 }), 0);
});
