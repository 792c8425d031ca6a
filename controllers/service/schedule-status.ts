// What a Service with a schedule says of itself.
import type { Service, ServiceStatus } from '../../crds/service.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { isConditionTrue, setConditions, type NewCondition } from '../runtime/conditions.ts';
import { isDeleting } from '../runtime/object-key.ts';
import { isRunOver, newestOver, overSince, parseTime, type SchedulePlan } from './schedule-plan.ts';
import { SERVICE_LABEL } from './slots.ts';

/** The last and the next run, and the conditions Progressing and Ready: how the last run ended. */
export function planScheduleStatus(input: {
  readonly service: Service;
  readonly runs: readonly Service[];
  readonly plan: SchedulePlan;
  readonly now: number;
  /** The name of the run that is due, when it is taken by a Service of somebody else. */
  readonly conflict?: string;
}): ServiceStatus {
  const { service, now, conflict } = input;
  const plan = conflict === undefined ? input.plan : withoutStart(input.plan, service);
  const runs = input.runs.filter((run) => !isDeleting(run));
  const last = newestOver(runs);
  const lastSuccess = newestOver(runs.filter((run) => isConditionTrue(run, 'Complete')));
  const lastSuccessfulTime = lastSuccess && overSince(lastSuccess);
  const going = runs.filter((run) => !isRunOver(run)).map(({ metadata }) => metadata.name);
  return {
    observedGeneration: service.metadata.generation,
    selector: `${SERVICE_LABEL}=${service.metadata.name}`,
    ...(plan.lastAt === undefined ? {} : { lastScheduleTime: rfc3339(plan.lastAt) }),
    ...(plan.nextAt === undefined ? {} : { nextScheduleTime: rfc3339(plan.nextAt) }),
    ...(lastSuccessfulTime === undefined ? {} : { lastSuccessfulTime }),
    activeRuns: [...new Set([...going, ...(plan.start ? [plan.start.name] : [])])].toSorted(),
    conditions: setConditions(
      service.status?.conditions,
      [conflict === undefined ? progressing(plan, going) : nameConflict(conflict), ready(last, plan)],
      {
        now,
        generation: service.metadata.generation,
      },
    ),
  };
}

function withoutStart({ start: _start, ...plan }: SchedulePlan, { status }: Service): SchedulePlan {
  return { ...plan, lastAt: parseTime(status?.lastScheduleTime) };
}

const nameConflict = (name: string): NewCondition => ({
  type: 'Progressing',
  status: 'False',
  reason: 'NameConflict',
  message: `Service ${name} exists and does not belong to this one: delete or rename it`,
});

function progressing({ start, waitsFor, missed, nextAt }: SchedulePlan, going: readonly string[]): NewCondition {
  const next = nextAt === undefined ? '' : `; next run at ${rfc3339(nextAt)}`;
  const known = { type: 'Progressing', status: 'True' } as const;
  if (start) return { ...known, reason: 'Running', message: `${start.name} was started${next}` };
  if (waitsFor) {
    const message = `a run is due, but ${waitsFor.metadata.name} is still going and concurrencyPolicy is Forbid${next}`;
    return { ...known, reason: 'Held', message };
  }
  if (missed) {
    return { ...known, reason: 'Missed', message: `the last time is over by more than startingDeadlineSeconds${next}` };
  }
  if (going.length > 0)
    return { ...known, reason: 'Running', message: `${going.toSorted().join(', ')} going on${next}` };
  return { ...known, reason: 'Scheduled', message: `no run is going on${next}` };
}

function ready(last: Service | undefined, { nextAt }: SchedulePlan): NewCondition {
  if (!last) {
    const next = nextAt === undefined ? '' : `; the next one starts at ${rfc3339(nextAt)}`;
    return { type: 'Ready', status: 'False', reason: 'Scheduled', message: `no run has ended yet${next}` };
  }
  const isGood = isConditionTrue(last, 'Complete');
  return {
    type: 'Ready',
    status: isGood ? 'True' : 'False',
    reason: isGood ? 'Complete' : 'RunFailed',
    message: `the last run, ${last.metadata.name}, ${isGood ? 'is complete' : 'failed'}`,
  };
}
