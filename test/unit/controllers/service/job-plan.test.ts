import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planJob, TRY_LABEL, type JobPlan } from '../../../../controllers/service/job-plan.ts';
import { formatSlots, parseSlots } from '../../../../controllers/service/job-progress.ts';
import { planJobStatus } from '../../../../controllers/service/job-status.ts';
import { SLOT_LABEL } from '../../../../controllers/service/slots.ts';
import type { Container, ContainerSpecInput } from '../../../../crds/container.ts';
import type { Service, ServiceStatus } from '../../../../crds/service.ts';
import { makeContainer, makeService, NOW, readyCondition, secondsAgo } from '../../../support/objects.ts';

type State = 'running' | 'pending' | 'succeeded' | 'failed' | 'deleting';

function child(
  slot: number,
  state: State,
  {
    attempt = 1,
    seconds = 60,
    ...spec
  }: { attempt?: number; seconds?: number; restarts?: number } & Partial<ContainerSpecInput> = {},
): Container {
  const { restarts = 0, ...template } = spec;
  const isOver = state === 'succeeded' || state === 'failed';
  const phases = {
    running: 'Running',
    pending: 'Pending',
    succeeded: 'Succeeded',
    failed: 'Failed',
    deleting: 'Running',
  } as const;
  return makeContainer(`batch-${slot}${attempt > 1 ? `-try${attempt}` : ''}`, {
    restartPolicy: 'Never',
    ...template,
    metadata: {
      labels: { [SLOT_LABEL]: String(slot), [TRY_LABEL]: String(attempt) },
      ...(state === 'deleting' ? { deletionTimestamp: secondsAgo(1) } : {}),
    },
    status: {
      phase: phases[state],
      restartCount: restarts,
      ...(isOver ? { finishedAt: secondsAgo(seconds), exitCode: state === 'failed' ? 1 : 0 } : {}),
      conditions: [readyCondition(state === 'running' ? 'True' : 'False')],
    },
  });
}

const job = (
  numbers: Partial<NonNullable<Service['spec']['job']>>,
  { status, ttl }: { status?: ServiceStatus; ttl?: number } = {},
): Service =>
  makeService('batch', {
    mode: 'Job',
    job: numbers,
    ...(status ? { status } : {}),
    ...(ttl === undefined ? {} : { template: { ttlSecondsAfterFinished: ttl } }),
  });

const plan = (service: Service, children: readonly Container[], foreign: readonly string[] = []): JobPlan =>
  planJob({ service, children, now: NOW, isForeign: (name) => foreign.includes(name) });

const created = ({ create }: JobPlan): string[] => create.map(({ name }) => name);
const removed = ({ remove }: JobPlan): string[] =>
  remove.map(({ container, why }) => `${container.metadata.name} ${why}`);

test('planJob() starts as many slots as parallelism says', () => {
  assert.deepEqual(created(plan(job({ completions: 5, parallelism: 2 }), [])), ['batch-1', 'batch-2']);
  assert.deepEqual(created(plan(job({ completions: 1, parallelism: 9 }), [])), ['batch-1']);
});

test('planJob() never runs a slot again that succeeded, now or before', () => {
  const service = job({ completions: 5, parallelism: 5 }, { status: { completedSlots: '1-2' } });
  const now = plan(service, [child(3, 'succeeded'), child(4, 'running')]);
  assert.deepEqual(created(now), ['batch-5']);
  assert.deepEqual([now.progress.succeeded, now.progress.outcome], [3, 'Running']);
});

test('planJob() ends the surplus when parallelism is lowered, those that wait and high slots first', () => {
  const children = [child(1, 'pending'), child(2, 'running'), child(3, 'running'), child(4, 'running')];
  const lowered = plan(job({ completions: 9, parallelism: 2 }), children);
  assert.deepEqual(removed(lowered), ['batch-4 ScaledDown', 'batch-1 ScaledDown']);
  assert.deepEqual(created(lowered), []);
});

test('planJob() starts more when parallelism is raised, and counts what is on its way out', () => {
  const children = [child(1, 'running'), child(2, 'deleting')];
  assert.deepEqual(created(plan(job({ completions: 9, parallelism: 4 }), children)), ['batch-3', 'batch-4']);
});

test('planJob() tries a failed slot again under another name, after a pause that grows', () => {
  const service = job({ completions: 1, backoffLimit: 6 });
  const first = plan(service, [child(1, 'failed', { seconds: 0 })]);
  assert.deepEqual([created(first), first.requeueAfterMs], [[], 1_000]);
  const failures = [1, 2, 3].map((attempt) => child(1, 'failed', { attempt, seconds: 3 }));
  assert.equal(plan(service, failures).requeueAfterMs, 1_000);
  const later = [1, 2, 3].map((attempt) => child(1, 'failed', { attempt, seconds: 4 }));
  assert.deepEqual(created(plan(service, later)), ['batch-1-try4']);
});

test('planJob() forgets the pause after a success', () => {
  const children = [
    ...[1, 2, 3].map((attempt) => child(1, 'failed', { attempt, seconds: 3 })),
    child(2, 'succeeded', { seconds: 2 }),
  ];
  assert.deepEqual(created(plan(job({ completions: 2 }), children)), ['batch-1-try4']);
});

test('planJob() gives up beyond backoffLimit, ends the rest, and goes on when the limit is raised', () => {
  const children = [child(1, 'failed'), child(2, 'failed'), child(3, 'running')];
  const over = plan(job({ completions: 3, parallelism: 3, backoffLimit: 1 }), children);
  assert.deepEqual([over.progress.outcome, created(over), removed(over)], ['Failed', [], ['batch-3 JobOver']]);
  const remembered = job({ completions: 3, parallelism: 3, backoffLimit: 1 }, { status: { failed: 2 } });
  assert.equal(plan(remembered, []).progress.outcome, 'Failed');
  const raised = plan(job({ completions: 3, parallelism: 3, backoffLimit: 2 }), children);
  assert.deepEqual(created(raised), ['batch-1-try2', 'batch-2-try2']);
});

test('planJob() with backoffLimit 0 fails with the first failure', () => {
  assert.equal(plan(job({ backoffLimit: 0 }), [child(1, 'failed')]).progress.outcome, 'Failed');
  assert.equal(plan(job({ backoffLimit: 0 }), []).progress.outcome, 'Running');
});

test('planJob() counts restarts in place as failures, but those of OnFailure only', () => {
  const restarts = (restartPolicy: 'OnFailure' | 'Never'): number =>
    plan(job({}), [child(1, 'running', { restarts: 3, restartPolicy })]).progress.failed;
  assert.deepEqual([restarts('OnFailure'), restarts('Never')], [3, 0]);
});

test('planJob() leaves a Container that a user stopped', () => {
  const stopped = plan(job({}), [child(1, 'failed', { desiredState: 'Stopped' })]);
  assert.deepEqual([created(stopped), removed(stopped), stopped.progress.failed], [[], [], 0]);
});

test('planJob() goes on when completions is raised after the end', () => {
  const service = job({ completions: 2 }, { status: { completedSlots: '1', succeeded: 1 } });
  assert.deepEqual(created(plan(service, [child(1, 'succeeded')])), ['batch-2']);
});

test('planJob() keeps finished Containers unless their time is over and their end is written down', () => {
  const children = [child(1, 'succeeded', { seconds: 60 }), child(2, 'succeeded', { seconds: 5 }), child(3, 'failed')];
  assert.deepEqual(removed(plan(job({ completions: 3 }), children)), []);
  assert.deepEqual(removed(plan(job({ completions: 3 }, { ttl: 10 }), children)), []);
  const recorded = plan(job({ completions: 3 }, { ttl: 10, status: { completedSlots: '1-2' } }), children);
  assert.deepEqual([removed(recorded), recorded.requeueAfterMs], [['batch-1 Expired'], 5_000]);
  const failed = { ...readyCondition('True'), type: 'Failed' };
  const over = plan(job({ completions: 3, backoffLimit: 0 }, { ttl: 10, status: { conditions: [failed] } }), children);
  assert.deepEqual(removed(over), ['batch-3 Expired']);
});

test('planJob() never adopts a Container of somebody else', () => {
  const conflict = plan(job({ completions: 2, parallelism: 2 }), [], ['batch-1']);
  assert.deepEqual([created(conflict), conflict.conflicts], [['batch-2'], ['batch-1']]);
});

test('planJob() on the same cache asks for the same names', () => {
  const children = [child(1, 'failed'), child(2, 'running')];
  const service = job({ completions: 4, parallelism: 3 });
  assert.deepEqual(created(plan(service, children)), created(plan(service, children)));
});

test('parseSlots() and formatSlots() are inverse, and nonsense is no slot', () => {
  for (const text of ['', '1', '1-3,5', '2,4,6-9']) assert.equal(formatSlots(parseSlots(text)), text);
  assert.equal(formatSlots(parseSlots('x,1,-,3-2,99999999')), '1');
});

function conditionsOf(service: Service, children: readonly Container[]): Record<string, string> {
  const { progress, conflicts } = plan(service, children);
  const status = planJobStatus({
    service,
    progress,
    conflicts,
    virtualIPs: [],
    published: { held: [], conflicts: [] },
    now: NOW,
  });
  return Object.fromEntries((status.conditions ?? []).map(({ type, status: is, reason }) => [type, `${is} ${reason}`]));
}

test('planJobStatus() says Complete, Failed, or what it waits for', () => {
  assert.deepEqual(conditionsOf(job({}), [child(1, 'succeeded')]), {
    Complete: 'True Complete',
    Failed: 'False Complete',
    Progressing: 'True Complete',
    Ready: 'True Complete',
  });
  assert.deepEqual(conditionsOf(job({ backoffLimit: 0 }), [child(1, 'failed')]), {
    Complete: 'False BackoffLimitExceeded',
    Failed: 'True BackoffLimitExceeded',
    Progressing: 'False BackoffLimitExceeded',
    Ready: 'False BackoffLimitExceeded',
  });
  assert.equal(conditionsOf(job({}), [child(1, 'failed', { seconds: 0 })])['Progressing'], 'True BackOff');
  assert.equal(conditionsOf(job({}), [child(1, 'running')])['Ready'], 'False Running');
});

test('planJob() with as many slots as there may be, half of which failed, is done at once', () => {
  const count = 50_000;
  const children = Array.from({ length: count / 2 }, (_, index) => child(index + 1, 'failed', { seconds: 1_000 }));
  const { create } = plan(job({ completions: count, parallelism: count, backoffLimit: count }), children);
  assert.equal(create.length, count);
  assert.deepEqual([create[0]?.name, create.at(-1)?.name], ['batch-1-try2', `batch-${count}`]);
});
