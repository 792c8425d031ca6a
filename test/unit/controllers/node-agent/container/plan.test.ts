import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ANNOTATIONS } from '../../../../../controllers/node-agent/container/annotations.ts';
import { planStep } from '../../../../../controllers/node-agent/container/plan.ts';
import { makeContainer, makeRun, makeSandbox, NOW, observe, READY } from '../make.ts';

const kindOf = (...args: Parameters<typeof observe>): string => planStep(observe(...args)).kind;

test('planStep() goes from nothing to a running container in four steps', () => {
  const container = makeContainer();
  const sandboxes = [makeSandbox(container)];
  assert.deepEqual(planStep(observe(container)), { kind: 'prepare' });
  assert.deepEqual(planStep(observe(container, { prepared: READY })), { kind: 'run-sandbox', attempt: 0 });
  assert.deepEqual(planStep(observe(container, { prepared: READY, sandboxes })), {
    kind: 'create',
    sandboxId: 's1',
    attempt: 0,
    restartCount: 0,
    shortRuns: 0,
  });
  const created = makeRun({ state: 'Created' });
  assert.deepEqual(planStep(observe(container, { sandboxes, containers: [created] })), {
    kind: 'start',
    containerId: 'c1',
  });
  assert.deepEqual(planStep(observe(container, { sandboxes, containers: [makeRun()] })), { kind: 'rest' });
});

test('planStep() rests until the clock when something that is missing is looked for again', () => {
  const missing = { state: 'Waiting', reason: 'ErrImagePull', message: 'no', retryAtMs: NOW + 5000 } as const;
  const step = planStep(observe(makeContainer(), { prepared: { ...READY, image: missing } }));
  assert.deepEqual(step, { kind: 'rest', untilMs: NOW + 5000 });
});

test('planStep() restarts an ended container with backoff, counting on', () => {
  const container = makeContainer();
  const sandboxes = [makeSandbox(container)];
  const ended = makeRun({
    state: 'Exited',
    exitCode: 1,
    startedAtMs: NOW - 1050,
    finishedAtMs: NOW - 50,
    annotations: { [ANNOTATIONS.shortRuns]: '1', [ANNOTATIONS.restartCount]: '4' },
  });
  const observed = observe(container, { sandboxes, containers: [ended], prepared: READY });
  assert.deepEqual(planStep(observed), { kind: 'rest', untilMs: NOW + 150 });
  assert.deepEqual(planStep({ ...observed, nowMs: NOW + 150 }), {
    kind: 'create',
    sandboxId: 's1',
    attempt: 1,
    restartCount: 5,
    shortRuns: 2,
    previous: { id: 'c1', stays: true },
  });
});

test('planStep() removes what is left of an ended run once the status tells of the next one', () => {
  const container = makeContainer({}, { status: { containerID: 'c1' } });
  const ended = makeRun({ state: 'Exited', exitCode: 1 });
  const view = { sandboxes: [makeSandbox(container)] };
  const after = (run: object): ReturnType<typeof planStep> =>
    planStep(observe(container, { ...view, containers: [makeRun({ id: 'c2', attempt: 1, ...run }), ended] }));
  assert.deepEqual(after({ state: 'Created' }), { kind: 'start', containerId: 'c2' });
  assert.deepEqual(after({}), { kind: 'rest' });
  // One is kept at most, whether or not the server could be told.
  assert.deepEqual(after({ state: 'Exited' }), { kind: 'remove-container', containerId: 'c1' });
  const told = makeContainer({}, { status: { containerID: 'c2' } });
  const containers = [makeRun({ id: 'c2', attempt: 1 }), ended];
  assert.deepEqual(planStep(observe(told, { ...view, containers })), { kind: 'remove-container', containerId: 'c1' });
});

test('planStep() has an ended run removed first where the next is not for its policy, or its layer was too big', () => {
  const previousOf = (spec: Record<string, unknown>, run: object): unknown => {
    const container = makeContainer(spec);
    const containers = [makeRun({ state: 'Exited', exitCode: 1, finishedAtMs: NOW - 60_000, ...run })];
    const step = planStep(observe(container, { sandboxes: [makeSandbox(container)], containers, prepared: READY }));
    return step.kind === 'create' && step.previous?.stays;
  };
  assert.equal(previousOf({}, {}), true);
  assert.equal(previousOf({}, { reason: 'Evicted' }), false);
  assert.equal(previousOf({ restartedAt: '2026-11-23T12:00:00Z' }, {}), false);
});

test('planStep() leaves an ended container alone when its policy says so', () => {
  const ended = makeRun({ state: 'Exited', finishedAtMs: NOW - 60_000 });
  for (const restartPolicy of ['Never', 'OnFailure']) {
    const container = makeContainer({ restartPolicy });
    assert.equal(kindOf(container, { sandboxes: [makeSandbox(container)], containers: [ended] }), 'rest');
  }
});

test('planStep() stops for desiredState, restartedAt and ill health, and nothing else', () => {
  const running = (spec: object, more: object = {}): string => {
    const container = makeContainer({ ...spec });
    return kindOf(container, { sandboxes: [makeSandbox(container)], containers: [makeRun()], ...more });
  };
  assert.equal(running({}), 'rest');
  assert.equal(running({ desiredState: 'Stopped' }), 'stop');
  assert.equal(running({ desiredState: 'Paused' }), 'pause');
  assert.equal(running({ desiredState: 'Paused' }, { isPaused: true }), 'rest');
  assert.equal(running({}, { isPaused: true }), 'unpause');
  assert.equal(running({ restartedAt: '2026-11-23T12:00:00Z' }), 'stop');
  const health = { status: 'Unhealthy', failingStreak: 3 };
  assert.equal(running({}, { health }), 'stop');
  assert.equal(running({ onUnhealthy: 'None' }, { health }), 'rest');
  assert.equal(running({}, { drift: [{ kind: 'update-ports' }] }), 'update-ports');
});

test('planStep() starts again what was stopped on purpose once the spec asks for it, whatever the policy', () => {
  const status = {
    conditions: [
      {
        type: 'Ready',
        status: 'False' as const,
        reason: 'Stopped',
        message: '',
        lastTransitionTime: '2026-11-23T11:00:00Z',
      },
    ],
  };
  const container = makeContainer({ restartPolicy: 'Never' }, { metadata: { generation: 3 }, status });
  const ended = makeRun({ state: 'Exited', exitCode: 137, finishedAtMs: NOW - 9000 });
  const observed = observe(container, { sandboxes: [makeSandbox(container)], containers: [ended], prepared: READY });
  assert.equal(planStep(observed).kind, 'create');
  // The new run carries the new generation: a stale status does not start it a second time.
  const rerun = { ...ended, annotations: { [ANNOTATIONS.generation]: '3' } };
  assert.equal(planStep({ ...observed, containers: [rerun] }).kind, 'rest');
});

test('planStep() removes the sandbox of an older spec before it makes a new one', () => {
  const old = makeContainer({ image: 'busybox:1' });
  const container = makeContainer({ image: 'busybox:2' });
  const sandboxes = [makeSandbox(old)];
  assert.equal(kindOf(container, { sandboxes, containers: [makeRun()] }), 'stop');
  assert.equal(kindOf(container, { sandboxes, containers: [makeRun({ state: 'Exited' })] }), 'remove-sandbox');
});

test('planStep() changes ports, networks, labels and resources without replacing the container', () => {
  const old = makeContainer();
  const container = makeContainer({
    ports: [{ containerPort: 80, hostPort: 8080 }],
    networks: [{ name: 'back' }],
    resources: { limits: { memory: '64Mi' } },
    restartPolicy: 'OnFailure',
    terminationGracePeriodSeconds: 3,
  });
  assert.equal(kindOf(container, { sandboxes: [makeSandbox(old)], containers: [makeRun()] }), 'rest');
});

test('planStep() stops, removes and releases a deleted container in that order', () => {
  const container = makeContainer({}, { metadata: { deletionTimestamp: '2026-11-23T12:00:00Z' } });
  const sandboxes = [makeSandbox(container)];
  assert.equal(kindOf(container, { sandboxes, containers: [makeRun()] }), 'stop');
  assert.equal(kindOf(container, { sandboxes, containers: [makeRun({ state: 'Exited' })] }), 'remove-sandbox');
  assert.equal(kindOf(container), 'release');
});

test('planStep() ends what is deleted without grace with its sandbox, unless it has to be thawed first', () => {
  const metadata = { deletionTimestamp: '2026-11-23T12:00:00Z' };
  const hasNone = makeContainer({ terminationGracePeriodSeconds: 0 }, { metadata });
  const isGivenNone = makeContainer({}, { metadata: { ...metadata, deletionGracePeriodSeconds: 0 } });
  for (const container of [hasNone, isGivenNone]) {
    const view = { sandboxes: [makeSandbox(container)], containers: [makeRun()] };
    assert.equal(kindOf(container, view), 'remove-sandbox');
    assert.equal(kindOf(container, { ...view, isPaused: true }), 'stop');
  }
});

test('planStep() does not run a finished container again after the node was rebooted', () => {
  const spec = { restartPolicy: 'Never' };
  const hash = makeSandbox(makeContainer(spec)).annotations[ANNOTATIONS.specHash] ?? '';
  const finished = makeContainer(spec, { status: { phase: 'Failed', specHash: hash } });
  assert.equal(kindOf(finished), 'rest');
  const always = makeContainer({}, { status: { phase: 'Failed', specHash: hash } });
  assert.equal(kindOf(always), 'prepare');
});

test('planStep() waits after a failed start, and gives up with policy Never', () => {
  const container = makeContainer();
  const startFailure = {
    reason: 'StartFailed',
    message: 'no such file',
    failures: 1,
    firstAtMs: NOW,
    atMs: NOW,
    retryAtMs: NOW + 1000,
    exitCode: 127,
    specHash: makeSandbox(container).annotations[ANNOTATIONS.specHash] ?? '',
    restartedAt: undefined,
  };
  assert.deepEqual(planStep(observe(container, { startFailure })), { kind: 'rest', untilMs: NOW + 1000 });
  assert.equal(kindOf(container, { startFailure, nowMs: NOW + 1000 }), 'prepare');
  const never = makeContainer({ restartPolicy: 'Never' });
  const hash = makeSandbox(never).annotations[ANNOTATIONS.specHash] ?? '';
  assert.deepEqual(planStep(observe(never, { startFailure: { ...startFailure, specHash: hash } })), { kind: 'rest' });
  const asked = makeContainer({ restartPolicy: 'Never', restartedAt: '2026-01-01T00:00:00Z' });
  assert.equal(kindOf(asked, { startFailure: { ...startFailure, specHash: hash } }), 'prepare');
});

test('planStep() tries a new sandbox once when nothing can be created in the old one', () => {
  const container = makeContainer();
  const specHash = makeSandbox(container).annotations[ANNOTATIONS.specHash] ?? '';
  const failure = { reason: 'CreateFailed', message: 'x', atMs: NOW, retryAtMs: NOW, exitCode: 128, specHash };
  const plan = (failures: number, createdAtMs: number) =>
    planStep(
      observe(container, {
        prepared: READY,
        sandboxes: [makeSandbox(container, { createdAtMs })],
        startFailure: { ...failure, failures, firstAtMs: NOW - 5000, restartedAt: undefined },
      }),
    ).kind;
  assert.equal(plan(2, NOW - 60_000), 'create');
  assert.equal(plan(3, NOW - 60_000), 'remove-sandbox');
  assert.equal(plan(4, NOW - 1000), 'create');
});

test('planStep() follows the container whose namespaces it shares when that one is replaced', () => {
  const container = makeContainer({ shareNamespaces: { pid: 'other' } });
  const sandbox = makeSandbox(container);
  const sandboxes = [{ ...sandbox, annotations: { ...sandbox.annotations, [ANNOTATIONS.target]: 's0/c0' } }];
  const observed = observe(container, { sandboxes, containers: [makeRun()], targetKey: 's0/c0' });
  assert.equal(planStep(observed).kind, 'rest');
  assert.equal(planStep({ ...observed, targetKey: undefined }).kind, 'rest');
  assert.equal(planStep({ ...observed, targetKey: 's0/c9' }).kind, 'stop');
  const ended = makeRun({ state: 'Exited', exitCode: 137, finishedAtMs: NOW - 5000, startedAtMs: NOW - 50_000 });
  const network = { state: 'Ready', hostGateway: '', targetSandboxId: 's0', targetKey: 's0/c9' } as const;
  const prepared = { ...READY, network };
  assert.equal(planStep({ ...observed, containers: [ended], prepared }).kind, 'remove-sandbox');
});

test('planStep() starts nothing before what was there in its place is off the host', () => {
  const container = makeContainer();
  const sandboxes = [makeSandbox(container)];
  const predecessors = [makeSandbox(container, { id: 's0', uid: 'u0' })];
  const wait = { kind: 'rest', untilMs: NOW + 100 };
  assert.deepEqual(planStep(observe(container, { predecessors, prepared: READY })), wait);
  const created = makeRun({ state: 'Created' });
  assert.deepEqual(planStep(observe(container, { predecessors, sandboxes, containers: [created] })), wait);
  // What runs already goes on, and what is to go goes.
  assert.equal(kindOf(container, { predecessors, sandboxes, containers: [makeRun()] }), 'rest');
  const deleted = makeContainer({}, { metadata: { deletionTimestamp: '2026-11-23T12:00:00Z' } });
  assert.equal(kindOf(deleted, { predecessors, sandboxes, containers: [makeRun()] }), 'stop');
});
