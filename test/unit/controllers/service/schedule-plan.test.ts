import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  planSchedule,
  SCHEDULED_AT_ANNOTATION,
  type SchedulePlan,
} from '../../../../controllers/service/schedule-plan.ts';
import { planScheduleStatus } from '../../../../controllers/service/schedule-status.ts';
import { scheduleTimes } from '../../../../controllers/service/schedule-times.ts';
import type { Service, ServiceSpecInput } from '../../../../crds/service.ts';
import { makeService, readyCondition } from '../../../support/objects.ts';

const at = (text: string): number => Date.parse(`2026-03-10T${text}:00Z`);
const CREATED = '2026-03-10T09:30:00Z';

function nightly(schedule: Partial<NonNullable<ServiceSpecInput['schedule']>> = {}, last?: string): Service {
  return makeService('tidy', {
    mode: 'Job',
    schedule: { cron: '0 * * * *', ...schedule },
    metadata: { creationTimestamp: CREATED },
    ...(last === undefined ? {} : { status: { lastScheduleTime: new Date(at(last)).toISOString() } }),
  });
}

const run = (due: string, end?: 'Complete' | 'Failed'): Service =>
  makeService(`tidy-${at(due) / 60_000}`, {
    mode: 'Job',
    metadata: { annotations: { [SCHEDULED_AT_ANNOTATION]: new Date(at(due)).toISOString() } },
    ...(end ? { status: { conditions: [{ ...readyCondition('True'), type: end }] } } : {}),
  });

function plan(service: Service, now: string, runs: readonly Service[] = []): SchedulePlan {
  const { schedule } = service.spec;
  assert.ok(schedule);
  return planSchedule({ service, runs, times: scheduleTimes(schedule), now: at(now) });
}

const removed = ({ remove }: SchedulePlan): string[] =>
  remove.map(({ run: { metadata }, why }) => `${metadata.name} ${why}`);

test('planSchedule() waits for the first time after the creation', () => {
  const early = plan(nightly(), '09:45');
  assert.deepEqual([early.start, early.nextAt, early.missed], [undefined, at('10:00'), false]);
  assert.deepEqual(plan(nightly(), '10:00').start, { name: `tidy-${at('10:00') / 60_000}`, dueAt: at('10:00') });
});

test('planSchedule() starts a time once', () => {
  const done = plan(nightly({}, '10:00'), '10:00', [run('10:00')]);
  assert.deepEqual([done.start, done.lastAt, done.nextAt], [undefined, at('10:00'), at('11:00')]);
});

test('planSchedule() starts one run, the newest, after it was away', () => {
  const back = plan(nightly({}, '10:00'), '15:20');
  assert.deepEqual([back.start?.dueAt, back.missed, back.lastAt], [at('15:00'), true, at('15:00')]);
});

test('planSchedule() leaves out what is later than startingDeadlineSeconds', () => {
  const late = plan(nightly({ startingDeadlineSeconds: 600 }, '10:00'), '11:20');
  assert.deepEqual([late.start, late.missed, late.nextAt], [undefined, true, at('12:00')]);
  assert.equal(plan(nightly({ startingDeadlineSeconds: 600 }, '10:00'), '11:10').start?.dueAt, at('11:00'));
});

test('planSchedule() with a run that is going: Allow starts, Forbid waits, Replace deletes it', () => {
  const going = [run('10:00')];
  const policy = (concurrencyPolicy: 'Allow' | 'Forbid' | 'Replace'): SchedulePlan =>
    plan(nightly({ concurrencyPolicy }, '10:00'), '11:00', going);
  assert.deepEqual([policy('Allow').start?.dueAt, removed(policy('Allow'))], [at('11:00'), []]);
  const held = policy('Forbid');
  assert.deepEqual([held.start, held.waitsFor, held.lastAt], [undefined, going[0], at('10:00')]);
  const replace = policy('Replace');
  assert.deepEqual([replace.start?.dueAt, removed(replace)], [at('11:00'), [`tidy-${at('10:00') / 60_000} Replaced`]]);
});

test('planSchedule() with Forbid starts the newest time once the run has ended', () => {
  const service = nightly({ concurrencyPolicy: 'Forbid' }, '10:00');
  assert.equal(plan(service, '13:05', [run('10:00', 'Failed')]).start?.dueAt, at('13:00'));
});

test('planSchedule() with Replace keeps the run that an earlier call started for the same time', () => {
  const again = plan(nightly({ concurrencyPolicy: 'Replace' }, '10:00'), '11:00', [run('11:00')]);
  assert.deepEqual([again.start?.dueAt, removed(again)], [at('11:00'), []]);
});

test('planSchedule() keeps historyLimit finished runs, and every one that is not written down yet', () => {
  const runs = [run('06:00', 'Failed'), run('07:00', 'Complete'), run('08:00'), run('09:00', 'Complete')];
  assert.deepEqual(removed(plan(nightly({ historyLimit: 1 }, '09:00'), '09:45', runs)), [
    `tidy-${at('07:00') / 60_000} History`,
    `tidy-${at('06:00') / 60_000} History`,
  ]);
  assert.deepEqual(removed(plan(nightly({ historyLimit: 0 }), '09:45', [run('09:00', 'Complete')])), []);
});

test('planSchedule() does nothing twice when the clock goes back', () => {
  assert.equal(plan(nightly({}, '11:00'), '10:59').start, undefined);
});

test('planSchedule() looks again at the next time, and within a minute in case the clock is set', () => {
  assert.equal(plan(nightly(), '09:45').requeueAfterMs, 60_000);
  const { schedule } = nightly().spec;
  assert.ok(schedule);
  const soon = planSchedule({ service: nightly(), runs: [], times: scheduleTimes(schedule), now: at('10:00') - 5_000 });
  assert.equal(soon.requeueAfterMs, 5_000);
});

test('planScheduleStatus() says the last and the next run, and how the last one ended', () => {
  const service = nightly({}, '10:00');
  const runs = [run('09:00', 'Complete'), run('10:00', 'Failed')];
  const status = planScheduleStatus({ service, runs, plan: plan(service, '10:30', runs), now: at('10:30') });
  assert.equal(status.lastScheduleTime, '2026-03-10T10:00:00Z');
  assert.equal(status.nextScheduleTime, '2026-03-10T11:00:00Z');
  assert.deepEqual(status.activeRuns, []);
  assert.deepEqual(
    status.conditions?.map(({ type, status: is, reason }) => `${type} ${is} ${reason}`),
    ['Progressing True Scheduled', 'Ready False RunFailed'],
  );
});
