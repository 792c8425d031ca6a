// What a Service with a schedule starts and removes. Each run is a Service of mode Job of its own, named after the
// minute it was due, so that one time is never run twice, whatever was written down before a crash.
import type { Service } from '../../crds/service.ts';
import { findCondition, isConditionTrue } from '../runtime/conditions.ts';
import { isDeleting } from '../runtime/object-key.ts';
import type { ScheduleTimes } from './schedule-times.ts';

/** On a run: when it was due, RFC 3339. */
export const SCHEDULED_AT_ANNOTATION = 'windlass.dev/scheduled-at';

const MINUTE_MS = 60_000;
/** Looked at again at the latest then: a clock that was set is noticed. */
const LONGEST_WAIT_MS = 60_000;

export interface ScheduleObserved {
  readonly service: Service;
  /** Services this one controls. */
  readonly runs: readonly Service[];
  readonly times: ScheduleTimes;
  readonly now: number;
}

export interface SchedulePlan {
  readonly start?: { readonly name: string; readonly dueAt: number };
  readonly remove: readonly { readonly run: Service; readonly why: 'Replaced' | 'History' }[];
  /** Due, but held back by concurrencyPolicy Forbid. */
  readonly waitsFor?: Service;
  /** The last time that was run, or is by this plan. */
  readonly lastAt: number | undefined;
  readonly nextAt: number | undefined;
  /** Times since the last run that are not run, because a later one is due or their deadline is over. */
  readonly missed: boolean;
  readonly requeueAfterMs: number;
}

/**
 * Of all times since the last run only the newest is run: a controller that was away for a week starts one run, not
 * a week's. startingDeadlineSeconds says how late it may be.
 */
export function planSchedule({ service, runs, times, now }: ScheduleObserved): SchedulePlan {
  const { schedule } = service.spec;
  if (!schedule) throw new Error('a Service without schedule has no times');
  const live = runs.filter((run) => !isDeleting(run));
  const going = live.filter((run) => !isRunOver(run));
  const recordedAt = parseTime(service.status?.lastScheduleTime);
  const since = recordedAt ?? parseTime(service.metadata.creationTimestamp) ?? now;
  const newest = times.last(now);
  const isDue = newest !== undefined && newest > since;
  const deadlineMs = (schedule.startingDeadlineSeconds ?? Number.POSITIVE_INFINITY) * 1000;
  const isLate = isDue && now - newest > deadlineMs;
  const blocker = schedule.concurrencyPolicy === 'Forbid' ? going[0] : undefined;
  const starts = isDue && !isLate && !blocker;
  const first = isDue ? times.next(since) : undefined;

  const history = live
    .filter((run) => isRunOver(run) && dueAtOf(run) <= (recordedAt ?? Number.NEGATIVE_INFINITY))
    .toSorted((a, b) => dueAtOf(b) - dueAtOf(a))
    .slice(schedule.historyLimit);
  const replaced = starts && schedule.concurrencyPolicy === 'Replace' ? going : [];
  const nextAt = times.next(now);
  return {
    ...(starts ? { start: { name: runName(service, newest), dueAt: newest } } : {}),
    remove: [
      ...replaced
        .filter(({ metadata }) => metadata.name !== runName(service, newest ?? now))
        .map((run) => ({ run, why: 'Replaced' as const })),
      ...history.map((run) => ({ run, why: 'History' as const })),
    ],
    ...(isDue && !isLate && blocker ? { waitsFor: blocker } : {}),
    lastAt: starts ? newest : recordedAt,
    nextAt,
    missed: isDue && (isLate || (first !== undefined && first < newest)),
    requeueAfterMs: Math.max(1, Math.min(LONGEST_WAIT_MS, (nextAt ?? Number.POSITIVE_INFINITY) - now)),
  };
}

/** The name of the run that is due at `dueAt`. */
export const runName = (service: Service, dueAt: number): string =>
  `${service.metadata.name}-${Math.floor(dueAt / MINUTE_MS)}`;

export const isRunOver = (run: Service): boolean => isConditionTrue(run, 'Complete') || isConditionTrue(run, 'Failed');

/** When a run was due; the time of its creation where nobody wrote it down. */
export const dueAtOf = ({ metadata }: Service): number =>
  parseTime(metadata.annotations?.[SCHEDULED_AT_ANNOTATION]) ?? parseTime(metadata.creationTimestamp) ?? 0;

/** The newest run that is over. */
export function newestOver(runs: readonly Service[]): Service | undefined {
  return runs.filter(isRunOver).toSorted((a, b) => dueAtOf(b) - dueAtOf(a))[0];
}

/** When `run` came to its end. */
export const overSince = (run: Service): string | undefined =>
  ['Complete', 'Failed'].map((type) => findCondition(run, type)).find((condition) => condition?.status === 'True')
    ?.lastTransitionTime;

/** Milliseconds since the epoch of an RFC 3339 time; undefined when it is none. */
export function parseTime(text: string | undefined): number | undefined {
  const ms = Date.parse(text ?? '');
  return Number.isNaN(ms) ? undefined : ms;
}
