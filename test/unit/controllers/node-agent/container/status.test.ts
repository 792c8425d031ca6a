import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ANNOTATIONS } from '../../../../../controllers/node-agent/container/annotations.ts';
import { statusPatch } from '../../../../../controllers/node-agent/container/status-patch.ts';
import { terminationOf } from '../../../../../controllers/node-agent/container/last-termination.ts';
import { buildStatus, type StatusInput } from '../../../../../controllers/node-agent/container/status.ts';
import type { Container } from '../../../../../crds/container.ts';
import { makeContainer, makeRun, makeSandbox, NOW, observe, READY } from '../make.ts';

function statusOf(container: Container, overrides: Partial<StatusInput> = {}) {
  const status = buildStatus({ ...observe(container), nodeName: 'n1', hostIp: '10.0.0.1', ...overrides });
  const ready = status.conditions?.find(({ type }) => type === 'Ready');
  return { status, line: [status.phase, ready?.status, ready?.reason].join(' ') };
}

test('buildStatus() says phase and Ready as the table of the API has them', () => {
  const line = (spec: object, overrides: Partial<StatusInput> = {}): string => {
    const container = makeContainer({ ...spec });
    const sandboxes = [makeSandbox(container)];
    return statusOf(container, { sandboxes, ...overrides }).line;
  };
  const run = makeRun();
  const ended = makeRun({ state: 'Exited', exitCode: 3, finishedAtMs: NOW - 10 });
  const healthCheck = { probe: { kind: 'tcp', port: 1 }, times: {} } as unknown as StatusInput['healthCheck'];
  assert.equal(line({}, { containers: [run] }), 'Running True Running');
  assert.equal(line({}, { containers: [run], healthCheck }), 'Running False Starting');
  const healthy = { status: 'Healthy', failingStreak: 0 } as const;
  assert.equal(line({}, { containers: [run], healthCheck, health: healthy }), 'Running True Healthy');
  const ill = { status: 'Unhealthy', failingStreak: 3 } as const;
  assert.equal(line({}, { containers: [run], healthCheck, health: ill }), 'Running False Unhealthy');
  assert.equal(line({ desiredState: 'Paused' }, { containers: [run], isPaused: true }), 'Paused False Paused');
  assert.equal(
    line({ desiredState: 'Created' }, { containers: [makeRun({ state: 'Created' })] }),
    'Created False Created',
  );
  assert.equal(line({ desiredState: 'Stopped' }, { containers: [ended] }), 'Failed False Stopped');
  assert.equal(
    line({ desiredState: 'Stopped' }, { containers: [{ ...ended, exitCode: 0 }] }),
    'Succeeded False Stopped',
  );
  assert.equal(line({}, { containers: [ended] }), 'Pending False BackOff');
  assert.equal(line({ restartPolicy: 'Never' }, { containers: [ended] }), 'Failed False Error');
  assert.equal(
    line({ restartPolicy: 'Never' }, { containers: [{ ...ended, exitCode: 0 }] }),
    'Succeeded False Completed',
  );
  assert.equal(
    line({ restartPolicy: 'Never' }, { containers: [{ ...ended, reason: 'OOMKilled' }] }),
    'Failed False OOMKilled',
  );
});

test('buildStatus() names the first thing that is missing and its message', () => {
  const network = { state: 'Waiting', reason: 'NetworkNotFound', message: 'network "x" not found' } as const;
  const { status, line } = statusOf(makeContainer(), { prepared: { ...READY, network } });
  assert.equal(line, 'Pending False NetworkNotFound');
  const conditions = Object.fromEntries(status.conditions?.map(({ type, status: value }) => [type, value]) ?? []);
  assert.deepEqual(conditions, {
    Scheduled: 'True',
    ImageReady: 'True',
    VolumesReady: 'True',
    NetworkReady: 'False',
    Ready: 'False',
  });
});

test('buildStatus() tells the next try, the counts and how the run before ended', () => {
  const container = makeContainer();
  const sandboxes = [makeSandbox(container)];
  const ended = makeRun({ state: 'Exited', exitCode: 1, startedAtMs: NOW - 100, finishedAtMs: NOW });
  const first = statusOf(container, { sandboxes, containers: [ended] }).status;
  assert.equal(first.exitCode, 1);
  assert.equal(first.nextRestartAt, '2026-11-23T12:00:00Z');
  const rerun = makeRun({ id: 'c2', attempt: 1, annotations: { [ANNOTATIONS.restartCount]: '1' } });
  const second = statusOf({ ...container, status: first }, { sandboxes, containers: [rerun] }).status;
  assert.equal(second.restartCount, 1);
  assert.deepEqual(second.lastTermination, {
    containerID: 'c1',
    exitCode: 1,
    reason: 'Error',
    startedAt: '2026-11-23T11:59:59Z',
    finishedAt: '2026-11-23T12:00:00Z',
  });
  assert.equal(second.exitCode, undefined);
});

test('buildStatus() knows how the run before ended from the run itself, should no status have told of it', () => {
  const container = makeContainer();
  const before = makeRun({ state: 'Exited', exitCode: 137, reason: 'OOMKilled', finishedAtMs: NOW });
  const lastTermination = terminationOf(before, false);
  const run = makeRun({
    id: 'c2',
    annotations: { [ANNOTATIONS.lastTermination]: JSON.stringify(lastTermination) },
  });
  const { status } = statusOf(container, { sandboxes: [makeSandbox(container)], containers: [run] });
  assert.deepEqual(status.lastTermination, {
    containerID: 'c1',
    exitCode: 137,
    reason: 'OOMKilled',
    startedAt: '2026-11-23T11:59:00Z',
    finishedAt: '2026-11-23T12:00:00Z',
  });
});

test('buildStatus() twice from one state gives nothing to write', () => {
  const container = makeContainer();
  const input = { sandboxes: [makeSandbox(container)], containers: [makeRun()] };
  const first = statusOf(container, input).status;
  const again = statusOf({ ...container, status: first }, { ...input, nowMs: NOW + 60_000 }).status;
  assert.deepEqual(statusPatch(first, again), {});
});

test('statusPatch() says what has changed and names what is gone', () => {
  assert.deepEqual(statusPatch({ a: 1, b: { x: 1, y: 2 }, c: [1] }, { b: { x: 1 }, c: [1, 2] }), {
    a: null,
    b: { x: 1, y: null },
    c: [1, 2],
  });
});
