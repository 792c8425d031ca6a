import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createApiClient } from '../../../client/api-client.ts';
import { createEventRecorder } from '../../../client/events.ts';
import { createInformerSet } from '../../../client/informer-set.ts';
import { readKubeconfig } from '../../../client/kubeconfig.ts';
import { composeControllers, watchKinds } from '../../../controllers/compose.ts';
import { createEvents } from '../../../controllers/runtime/events.ts';
import { createLoopMetrics } from '../../../controllers/runtime/queue-metrics.ts';
import { createServiceController } from '../../../controllers/service/controller.ts';
import { containerKind } from '../../../crds/container.ts';
import { serviceKind, type Service, type ServiceSpecInput } from '../../../crds/service.ts';
import { rfc3339, systemClock } from '../../../lib/clock.ts';
import { silentLogger } from '../../../lib/log.ts';
import { Registry } from '../../../lib/metrics.ts';
import { runAll } from '../../../lib/run-all.ts';
import { startTestApiserver } from '../../support/apiserver.ts';
import { createLyingClock, type LyingClock } from '../../support/lying-clock.ts';
import { makeService } from '../../support/objects.ts';
import { startPretendAgent } from '../../support/pretend-agent.ts';
import { requirePrograms } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

const NAMESPACE = 'default';
const HOUR_MS = 3_600_000;

/** The controllers in this process; the one of Services believes `clock`. */
function runControllers(kubeconfig: string, clock: LyingClock): AsyncDisposable {
  const log = silentLogger();
  const registry = new Registry();
  const client = createApiClient(readKubeconfig(kubeconfig), { userAgent: 'test-controllers' });
  const informers = createInformerSet({ client, log, clock: systemClock });
  const recorder = createEventRecorder({ client, component: 'test', clock: systemClock, log });
  const deps = {
    client,
    clock: systemClock,
    log,
    metrics: createLoopMetrics(registry),
    synced: informers.synced,
    events: createEvents(recorder),
    caches: watchKinds(informers),
  };
  const others = composeControllers(deps, registry, {
    times: { minGraceMs: 300_000, evictionDelayMs: 300_000 },
    autoscale: { syncMs: 15_000, downWindowMs: 300_000 },
  });
  const stop = new AbortController();
  const running = runAll(
    [
      informers,
      recorder,
      createServiceController({ ...deps, clock, findPlace: () => undefined }),
      ...others.filter(({ name }) => name !== 'service'),
    ],
    stop.signal,
  );
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      await client.close();
    },
  };
}

test('Jobs and schedules over a real API server', async (t) => {
  if (!requirePrograms(t, 'etcd')) return;
  const clock = createLyingClock();
  await using api = await startTestApiserver();
  await using controllers = runControllers(api.kubeconfig, clock);
  await using agent = await startPretendAgent(api.kubeconfig, 'n1');
  let restarted: AsyncDisposable = controllers;
  const services = agent.client.kind(serviceKind);
  const containers = agent.client.kind(containerKind);

  const create = async (name: string, spec: Parameters<typeof makeService>[1]): Promise<Service> =>
    services.create({
      metadata: { name, namespace: NAMESPACE },
      spec: makeService(name, { mode: 'Job', ...spec }).spec,
    });
  const patch = (name: string, spec: Partial<ServiceSpecInput>): Promise<Service> =>
    services.mergePatch(name, NAMESPACE, { spec });
  const tries = async (service: string, phase?: string): Promise<string[]> =>
    (await containers.list({ namespace: NAMESPACE, labelSelector: `windlass.dev/service=${service}` })).items
      .filter(({ metadata, status }) => !metadata.deletionTimestamp && (phase === undefined || status?.phase === phase))
      .map(({ metadata }) => metadata.name)
      .toSorted();
  const reaches = (name: string, phase: string | undefined, wanted: readonly string[]): Promise<boolean> =>
    waitFor(async () => JSON.stringify(await tries(name, phase)) === JSON.stringify(wanted), {
      what: `${name} with ${wanted.join(' ')} ${phase ?? ''}`,
      timeoutMs: 10_000,
    });
  const finish = async (name: string, exitCode: number, aheadMs = 0): Promise<void> => {
    const status = {
      phase: exitCode === 0 ? 'Succeeded' : 'Failed',
      reason: exitCode === 0 ? 'Completed' : 'Error',
      exitCode,
      finishedAt: rfc3339(systemClock.now() + aheadMs),
      conditions: [
        { type: 'Ready', status: 'False', reason: 'Completed', message: '', lastTransitionTime: rfc3339(Date.now()) },
      ],
    };
    await containers.mergePatch(name, NAMESPACE, { status }, { subresource: 'status' });
  };
  const condition = (name: string, type: string, status: string, reason: string): Promise<Service> =>
    waitFor(
      async () => {
        const service = await services.get(name, NAMESPACE);
        const found = service?.status?.conditions?.find((candidate) => candidate.type === type);
        return found?.status === status && found.reason === reason && service;
      },
      { what: `${name} ${type} ${status} ${reason}`, timeoutMs: 10_000 },
    );

  await t.test('a Job runs its slots, a failed one again, and is complete', async () => {
    await create('batch', { job: { completions: 3, parallelism: 2 } });
    await reaches('batch', 'Running', ['batch-1', 'batch-2']);
    await finish('batch-2', 0);
    await reaches('batch', 'Running', ['batch-1', 'batch-3']);
    // In a later second than the success, and time stands still until the pause of a second has been seen.
    clock.jump(3_000);
    clock.stop();
    await finish('batch-1', 3, 3_000);
    await condition('batch', 'Progressing', 'True', 'BackOff');
    clock.goOn();
    clock.jump(2_000);
    await reaches('batch', 'Running', ['batch-1-try2', 'batch-3']);
    await finish('batch-1-try2', 0);
    await finish('batch-3', 0);
    const { status } = await condition('batch', 'Complete', 'True', 'Complete');
    assert.deepEqual([status?.succeeded, status?.failed, status?.completedSlots, status?.replicas], [3, 1, '1-3', 0]);
    // All are kept for their logs, the failed one too.
    assert.deepEqual(await tries('batch'), ['batch-1', 'batch-1-try2', 'batch-2', 'batch-3']);
    const kept = await containers.get('batch-2', NAMESPACE);
    assert.equal(kept?.spec.restartPolicy, 'Never');
  });

  await t.test('what succeeded is not run again when its Container is deleted', async () => {
    await containers.delete('batch-2', NAMESPACE);
    await patch('batch', { job: { completions: 4 } });
    await reaches('batch', 'Running', ['batch-4']);
    await finish('batch-4', 0);
    const { status } = await condition('batch', 'Complete', 'True', 'Complete');
    assert.deepEqual(await tries('batch'), ['batch-1', 'batch-1-try2', 'batch-3', 'batch-4']);
    assert.equal(status?.completedSlots, '1-4');
  });

  await t.test('parallelism is changed in place, down and up', async () => {
    await create('wide', { job: { completions: 5, parallelism: 4 } });
    await reaches('wide', 'Running', ['wide-1', 'wide-2', 'wide-3', 'wide-4']);
    const first = await containers.get('wide-1', NAMESPACE);
    await patch('wide', { job: { parallelism: 1 } });
    await reaches('wide', 'Running', ['wide-1']);
    await patch('wide', { job: { parallelism: 3 } });
    await reaches('wide', 'Running', ['wide-1', 'wide-2', 'wide-3']);
    assert.equal((await containers.get('wide-1', NAMESPACE))?.metadata.uid, first?.metadata.uid);
  });

  await t.test('a Job beyond its backoffLimit has failed and ends what is left', async () => {
    await create('bad', { job: { completions: 3, parallelism: 3, backoffLimit: 1 } });
    await reaches('bad', 'Running', ['bad-1', 'bad-2', 'bad-3']);
    await finish('bad-1', 1);
    await finish('bad-2', 1);
    const { status } = await condition('bad', 'Failed', 'True', 'BackoffLimitExceeded');
    assert.equal(status?.failed, 2);
    await reaches('bad', undefined, ['bad-1', 'bad-2']);
    await condition('bad', 'Ready', 'False', 'BackoffLimitExceeded');
  });

  await t.test('finished Containers go after ttlSecondsAfterFinished, the Job stays complete', async () => {
    await create('brief', { template: { image: 'succeeds', ttlSecondsAfterFinished: 0 } });
    await condition('brief', 'Complete', 'True', 'Complete');
    await reaches('brief', undefined, []);
    assert.equal((await services.get('brief', NAMESPACE))?.status?.succeeded, 1);
  });

  const runsOf = async (name: string): Promise<string[]> =>
    (await services.list({ namespace: NAMESPACE, labelSelector: `windlass.dev/schedule=${name}` })).items
      .filter(({ metadata }) => !metadata.deletionTimestamp)
      .map(({ metadata }) => metadata.name)
      .toSorted();
  // Half an hour from now, so that nothing comes due but by a jump.
  const minute = (new Date().getUTCMinutes() + 30) % 60;
  const cron = `${minute} * * * *`;
  /** The newest time of the schedule, in minutes. */
  const due = (): number => Math.floor((clock.now() / 60_000 - minute) / 60) * 60 + minute;

  await t.test('a schedule starts a run when it is due, and forgets old ones', async () => {
    await create('tidy', { schedule: { cron, historyLimit: 1 }, template: { image: 'succeeds' } });
    const waiting = await condition('tidy', 'Ready', 'False', 'Scheduled');
    assert.equal(Date.parse(waiting.status?.nextScheduleTime ?? ''), (due() + 60) * 60_000);
    clock.jump(HOUR_MS);
    const run = `tidy-${due()}`;
    const done = await condition('tidy', 'Ready', 'True', 'Complete');
    assert.deepEqual(await runsOf('tidy'), [run]);
    assert.equal(Date.parse(done.status?.lastScheduleTime ?? ''), due() * 60_000);
    assert.equal(Date.parse(done.status?.nextScheduleTime ?? ''), (due() + 60) * 60_000);
    assert.deepEqual(await tries(run), [`${run}-1`]);
    clock.jump(HOUR_MS);
    await waitFor(async () => JSON.stringify(await runsOf('tidy')) === JSON.stringify([`tidy-${due()}`]));
    await waitFor(async () => (await tries(run)).length === 0);
  });

  await t.test('one run, the newest, makes up for those missed while no controller was there', async () => {
    await services.mergePatch('tidy', NAMESPACE, { spec: { schedule: { historyLimit: 100 } } });
    await controllers[Symbol.asyncDispose]();
    const before = await runsOf('tidy');
    clock.jump(5 * HOUR_MS);
    restarted = runControllers(api.kubeconfig, clock);
    const newest = `tidy-${due()}`;
    await waitFor(async () => {
      const service = await services.get('tidy', NAMESPACE);
      return service?.status?.lastScheduleTime === rfc3339(due() * 60_000);
    });
    assert.deepEqual(await runsOf('tidy'), [...before, newest].toSorted());
  });

  await t.test('Forbid holds a run back until the one before has ended; Replace deletes that', async () => {
    await create('slow', { schedule: { cron, concurrencyPolicy: 'Forbid' } });
    // A Service is as old as the server says: by the lying clock it is due at once.
    const first = `slow-${due()}`;
    await reaches(first, 'Running', [`${first}-1`]);
    clock.jump(HOUR_MS);
    await condition('slow', 'Progressing', 'True', 'Held');
    assert.deepEqual(await runsOf('slow'), [first]);
    await finish(`${first}-1`, 0);
    const second = `slow-${due()}`;
    await reaches(second, 'Running', [`${second}-1`]);
    await services.mergePatch('slow', NAMESPACE, { spec: { schedule: { concurrencyPolicy: 'Replace' } } });
    clock.jump(HOUR_MS);
    const third = `slow-${due()}`;
    await reaches(third, 'Running', [`${third}-1`]);
    await waitFor(async () => JSON.stringify(await runsOf('slow')) === JSON.stringify([first, third].toSorted()));
    await reaches(second, undefined, []);
  });

  await t.test('a Service of somebody else that has the name of a run is never adopted', async () => {
    const name = `clash-${due()}`;
    await services.create({ metadata: { name, namespace: NAMESPACE }, spec: makeService(name, { replicas: 0 }).spec });
    await create('clash', { schedule: { cron }, template: { image: 'succeeds' } });
    const { status } = await condition('clash', 'Progressing', 'False', 'NameConflict');
    assert.equal(status?.lastScheduleTime, undefined);
    await services.delete(name, NAMESPACE);
    clock.jump(60_000);
    await condition('clash', 'Ready', 'True', 'Complete');
  });

  await t.test('a schedule that is nonsense is refused by the server or by condition, naming the field', async () => {
    await create('never', { schedule: { cron: '0 0 31 2 *' } });
    const never = await condition('never', 'Progressing', 'False', 'InvalidSchedule');
    assert.match(never.status?.conditions?.[0]?.message ?? '', /^spec\.schedule\.cron: 0 0 31 2 \*: never comes/);
    await create('nowhere', { schedule: { cron: '@daily', timeZone: 'Mars/Phobos' } });
    const nowhere = await condition('nowhere', 'Ready', 'False', 'InvalidSchedule');
    assert.match(nowhere.status?.conditions?.[0]?.message ?? '', /^spec\.schedule\.timeZone: Mars\/Phobos is not/);
    const { spec } = makeService('typo', { mode: 'Job', schedule: { cron: '@daily' } });
    const typo = { ...spec, schedule: { ...spec.schedule, cron: '61 * * * *' } } as Service['spec'];
    await assert.rejects(
      services.create({ metadata: { name: 'typo', namespace: NAMESPACE }, spec: typo }),
      /spec\.schedule\.cron: .*must be minute \(0-59\)/,
    );
  });

  await t.test('a deleted schedule takes its runs and their Containers along', async () => {
    await services.delete('slow', NAMESPACE);
    await waitFor(async () => (await runsOf('slow')).length === 0);
    await waitFor(async () =>
      (await containers.list({ namespace: NAMESPACE })).items.every(
        ({ metadata }) => !metadata.name.startsWith('slow-'),
      ),
    );
  });
  await restarted[Symbol.asyncDispose]();
});
