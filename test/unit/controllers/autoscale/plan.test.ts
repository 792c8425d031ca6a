import assert from 'node:assert/strict';
import { test } from 'node:test';
import { askCpu, type CpuUse } from '../../../../controllers/autoscale/cpu-ratio.ts';
import { planAutoscale, type AutoscaleObserved } from '../../../../controllers/autoscale/plan.ts';
import type { Container, ContainerSpecInput } from '../../../../crds/container.ts';
import { makeContainer, makeService, NOW, readyCondition, secondsAgo } from '../../../support/objects.ts';

const REQUEST = { requests: { cpu: '500m' } };
type Resources = ContainerSpecInput['resources'];

function replica(
  slot: number,
  {
    isReady = true,
    phase = 'Running',
    startedFor = 3600,
    readyFor = 600,
    resources = REQUEST as Resources,
    deleting = false,
  } = {},
): Container {
  return makeContainer(`web-${slot}`, {
    resources,
    ...(deleting ? { metadata: { deletionTimestamp: secondsAgo(1) } } : {}),
    status: {
      phase: phase as 'Running',
      startedAt: secondsAgo(startedFor),
      conditions: [readyCondition(isReady ? 'True' : 'False', { seconds: readyFor })],
    },
  });
}
const replicas = (count: number, more: Parameters<typeof replica>[1] = {}): Container[] =>
  Array.from({ length: count }, (_, index) => replica(index + 1, more));
const runningForMs = ({ status }: Container): number => NOW - Date.parse(status?.startedAt ?? '');

/** Each replica with the cores it uses; undefined = nothing is known. */
const usageOf = (...cores: (number | undefined)[]): Map<string, CpuUse> =>
  new Map(
    cores.flatMap((one, index) =>
      one === undefined ? [] : [[`web-${index + 1}`, { cores: one, atMs: NOW, windowMs: 15_000 }] as const],
    ),
  );

function ask(children: readonly Container[], usage: Map<string, CpuUse>, cpuPercent = 50) {
  const answer = askCpu({ replicas: children.length, children, usage, cpuPercent, runningForMs });
  return answer.kind === 'scale' ? [answer.desired, answer.currentPercent] : answer.reason;
}

test('askCpu() asks for as many as bring the average to what is wanted', () => {
  assert.deepEqual(ask(replicas(2), usageOf(0.5, 0.5)), [4, 100]);
  assert.deepEqual(ask(replicas(4), usageOf(0.1, 0.1, 0.1, 0.1)), [2, 20]);
  assert.deepEqual(ask(replicas(3), usageOf(0.5, 0.1, 0.3)), [4, 60]);
  assert.deepEqual(ask(replicas(2), usageOf(0, 0)), [0, 0]);
});

test('askCpu() leaves the number alone within a tenth of what is wanted', () => {
  assert.deepEqual(ask(replicas(2), usageOf(0.27, 0.27)), [2, 54]);
  assert.deepEqual(ask(replicas(2), usageOf(0.23, 0.23)), [2, 46]);
  assert.deepEqual(ask(replicas(2), usageOf(0.28, 0.28)), [3, 56]);
});

test('askCpu() takes the limit where nothing is requested, and names the field where neither is set', () => {
  assert.deepEqual(ask(replicas(1, { resources: { limits: { cpu: '1' } } }), usageOf(1)), [2, 100]);
  const none = askCpu({
    replicas: 1,
    children: replicas(1, { resources: {} }),
    usage: usageOf(1),
    cpuPercent: 50,
    runningForMs,
  });
  assert.equal(none.kind === 'unknown' && none.reason, 'NoCpuRequest');
  assert.match(none.kind === 'unknown' ? none.message : '', /spec\.template\.spec\.resources\.requests\.cpu/);
  assert.equal(ask(replicas(1, { resources: { requests: { cpu: '0' } } }), usageOf(1)), 'NoCpuRequest');
});

test('askCpu() counts what is missing so that it moves the number less', () => {
  // Two of three are idle: the third, if it used all it asked for, would keep two.
  assert.deepEqual(ask(replicas(3), usageOf(0, 0)), [2, 0]);
  assert.deepEqual(ask(replicas(4), usageOf(0.2, 0.2, 0.2)), [4, 40]);
  // Busy ones ask for more, but not as if the missing one were as busy.
  assert.deepEqual(ask(replicas(3), usageOf(0.5, 0.5)), [4, 100]);
  assert.equal(ask(replicas(3), usageOf()), 'FailedGetResourceMetric');
  assert.equal(ask([], usageOf()), 'FailedGetResourceMetric');
});

test('askCpu() does not take the start of a replica for load', () => {
  const starting = replica(2, { isReady: false, startedFor: 10, readyFor: 10 });
  assert.deepEqual(ask([replica(1), starting], usageOf(0.25, 2)), [2, 50]);
  assert.deepEqual(ask([replica(1), starting], usageOf(0.5, 2)), [2, 100]);
  assert.deepEqual(ask([replica(1), starting], usageOf(1, 0)), [4, 200]);
  const justReady = replica(2, { startedFor: 20, readyFor: 5 });
  assert.deepEqual(ask([replica(1), justReady], usageOf(0.5, 2)), [2, 100]);
  assert.deepEqual(ask([replica(1), replica(2, { phase: 'Pending' })], usageOf(0.25)), [2, 50]);
});

test('askCpu() ignores what is leaving or over', () => {
  const leaving = [replica(1), replica(2, { deleting: true }), replica(3, { phase: 'Failed' })];
  assert.deepEqual(ask(leaving, usageOf(0.5, 5, 5)), [2, 100]);
});

function plan(
  count: number,
  cores: number,
  {
    minReplicas = 1,
    maxReplicas = 10,
    children = replicas(count),
    ...rest
  }: Partial<AutoscaleObserved> & { minReplicas?: number; maxReplicas?: number } = {},
) {
  const service = makeService('web', { replicas: count, autoscale: { minReplicas, maxReplicas, cpuPercent: 50 } });
  const usage = usageOf(...children.map(() => cores));
  return planAutoscale({
    service,
    children,
    usage,
    recommendations: [],
    downWindowMs: 300_000,
    runningForMs,
    now: NOW,
    ...rest,
  });
}
const told = ({ conditions }: ReturnType<typeof plan>): string[] =>
  conditions.map(({ type, status, reason }) => `${type} ${status} ${reason}`);

test('planAutoscale() scales up at once, at most to double or to 4', () => {
  const up = plan(2, 0.5);
  assert.deepEqual([up.replicas, up.currentCpuPercent], [4, 100]);
  assert.deepEqual(told(up), ['ScalingActive True ValidMetricFound', 'ScalingLimited False DesiredWithinRange']);
  assert.equal(plan(1, 5).replicas, 4);
  const fast = plan(5, 5, { maxReplicas: 100 });
  assert.equal(fast.replicas, 10);
  assert.equal(told(fast)[1], 'ScalingLimited True ScaleUpLimit');
});

test('planAutoscale() keeps between its bounds and says when they hold it', () => {
  const most = plan(3, 5, { maxReplicas: 4 });
  assert.deepEqual([most.replicas, told(most)[1]], [4, 'ScalingLimited True TooManyReplicas']);
  const past = [{ at: NOW - 1000, replicas: 0 }];
  const least = plan(3, 0, { minReplicas: 2, recommendations: past });
  assert.deepEqual([least.replicas, told(least)[1]], [2, 'ScalingLimited True TooFewReplicas']);
  assert.equal(plan(12, 0.25).replicas, 10);
  assert.equal(plan(1, 0.25, { minReplicas: 3 }).replicas, 3);
  // What the bounds say needs no measurement.
  const blind = plan(12, 0, { usage: 'nobody answers' });
  assert.deepEqual([blind.replicas, told(blind)], [10, ['ScalingActive False FailedGetResourceMetric']]);
});

test('planAutoscale() scales down only to the most that was asked for within the window', () => {
  const first = plan(4, 0.05);
  assert.deepEqual([first.replicas, first.recommendations.map(({ replicas: asked }) => asked)], [4, [4, 1]]);
  const later = (seconds: number, asked: number) => ({ at: NOW - seconds * 1000, replicas: asked });
  assert.equal(plan(4, 0.05, { recommendations: [later(290, 4), later(100, 2)] }).replicas, 4);
  const due = plan(4, 0.05, { recommendations: [later(300, 4), later(100, 2)] });
  assert.deepEqual([due.replicas, due.recommendations.length], [2, 2]);
  assert.equal(plan(4, 0.05, { recommendations: [later(20, 4)], downWindowMs: 10_000 }).replicas, 1);
  // A number asked for and never reached does not come later, when the load is gone.
  assert.equal(plan(4, 0.05, { recommendations: [later(100, 9)] }).replicas, 4);
});

test('planAutoscale() stays where it is when it cannot know, and leaves a Service that is switched off', () => {
  const blind = plan(3, 0, { usage: 'metrics.k8s.io answered with 503' });
  assert.deepEqual([blind.replicas, told(blind)], [3, ['ScalingActive False FailedGetResourceMetric']]);
  const unset = plan(2, 1, { children: replicas(2, { resources: {} }) });
  assert.deepEqual([unset.replicas, told(unset)], [2, ['ScalingActive False NoCpuRequest']]);
  const off = plan(0, 0);
  assert.deepEqual([off.replicas, told(off)], [0, ['ScalingActive False ScalingDisabled']]);
});
