// What to create and to remove for a Service of mode Job. A finished Container stays, for its log and as the proof of
// its end; a new try of its slot gets a name of its own.
import type { Container } from '../../crds/container.ts';
import type { Service } from '../../crds/service.ts';
import { findCondition } from '../runtime/conditions.ts';
import { isDeleting } from '../runtime/object-key.ts';
import {
  finishedAtMs,
  hasSucceeded,
  isFinished,
  jobOf,
  jobProgress,
  parseSlots,
  type JobProgress,
} from './job-progress.ts';
import { isReady, slotOf } from './slots.ts';

/** On the Containers of a Job: which try of its slot it is, from 1. */
export const TRY_LABEL = 'windlass.dev/try';

export interface JobObserved {
  readonly service: Service;
  /** Containers this Service controls. */
  readonly children: readonly Container[];
  /** Is there a Container of that name that the Service does not control? */
  readonly isForeign: (name: string) => boolean;
  readonly now: number;
}

export interface JobCreation {
  readonly name: string;
  readonly slot: number;
  readonly attempt: number;
}

export interface JobRemoval {
  readonly container: Container;
  readonly why: 'ScaledDown' | 'JobOver' | 'Superfluous' | 'Expired';
}

export interface JobPlan {
  readonly progress: JobProgress;
  readonly create: readonly JobCreation[];
  readonly remove: readonly JobRemoval[];
  /** Names that are taken by Containers of others. */
  readonly conflicts: readonly string[];
  /** Look again then, although nothing may have changed: a pause or the time of a finished Container ends. */
  readonly requeueAfterMs?: number;
}

/** Starts tries up to parallelism, ends what is too much, and removes finished Containers when their time is over. */
export function planJob(observed: JobObserved): JobPlan {
  const { service, children, now } = observed;
  const progress = jobProgress(service, children, now);
  const surplus = planSurplus(service, progress);
  const expiry = planExpiry(service, children, now);
  const wanted = progress.pausedUntil === undefined ? planTries(observed, progress) : [];
  const create = wanted.filter(({ name }) => !observed.isForeign(name));
  const conflicts = wanted.filter(({ name }) => observed.isForeign(name)).map(({ name }) => name);
  const waits = [
    ...(progress.pausedUntil === undefined ? [] : [progress.pausedUntil - now]),
    ...(expiry.lookAgainMs === undefined ? [] : [expiry.lookAgainMs]),
  ];
  return {
    progress,
    create,
    remove: [...surplus, ...expiry.remove],
    conflicts,
    ...(waits.length === 0 ? {} : { requeueAfterMs: Math.min(...waits) }),
  };
}

function planSurplus(service: Service, { outcome, completed, active }: JobProgress): JobRemoval[] {
  const { completions, parallelism } = jobOf(service);
  if (outcome !== 'Running') return active.map((container) => ({ container, why: 'JobOver' }));
  const remove: JobRemoval[] = [];
  const keep: Container[] = [];
  const seen = new Set<number>();
  for (const container of active.toSorted(byUse)) {
    const slot = slotOf(container) ?? 0;
    if (slot < 1 || slot > completions) remove.push({ container, why: 'ScaledDown' });
    else if (completed.has(slot) || seen.has(slot)) remove.push({ container, why: 'Superfluous' });
    else keep.push(container);
    seen.add(slot);
  }
  for (const container of keep.slice(parallelism)) remove.push({ container, why: 'ScaledDown' });
  return remove;
}

// Those that run before those that wait, low slots before high ones: what is last has done the least.
const byUse = (a: Container, b: Container): number =>
  Number(isReady(b)) - Number(isReady(a)) || (slotOf(a) ?? 0) - (slotOf(b) ?? 0);

function planTries({ service, children }: JobObserved, { outcome, completed, active }: JobProgress): JobCreation[] {
  const { completions, parallelism } = jobOf(service);
  if (outcome !== 'Running') return [];
  // A Container that is on its way out still holds its slot and its share of the machines.
  const busy = new Set([...active, ...children.filter(isDeleting)].map((child) => slotOf(child)));
  let free = parallelism - active.length - children.filter(isDeleting).length;
  const attempts = lastAttempts(children);
  const tries: JobCreation[] = [];
  for (let slot = 1; slot <= completions && free > 0; slot += 1) {
    if (completed.has(slot) || busy.has(slot)) continue;
    const attempt = 1 + (attempts.get(slot) ?? 0);
    const name = `${service.metadata.name}-${slot}${attempt > 1 ? `-try${attempt}` : ''}`;
    tries.push({ name, slot, attempt });
    free -= 1;
  }
  return tries;
}

/** By slot: the highest number of a try that is still there. */
function lastAttempts(children: readonly Container[]): Map<number, number> {
  const last = new Map<number, number>();
  for (const child of children) {
    const slot = slotOf(child);
    if (slot !== undefined) last.set(slot, Math.max(last.get(slot) ?? 0, attemptOf(child)));
  }
  return last;
}

function attemptOf(child: Container): number {
  const attempt = Number(child.metadata.labels?.[TRY_LABEL]);
  return Number.isSafeInteger(attempt) && attempt > 0 ? attempt : 1;
}

// ttlSecondsAfterFinished of the template. A Container goes only when the status has what it stood for: a success by
// its slot, a failure when the Job is over and the number no longer matters.
function planExpiry(
  service: Service,
  children: readonly Container[],
  now: number,
): { remove: JobRemoval[]; lookAgainMs?: number } {
  const ttl = service.spec.template.spec.ttlSecondsAfterFinished;
  if (ttl === undefined) return { remove: [] };
  const recorded = parseSlots(service.status?.completedSlots ?? '');
  const isOver = ['Complete', 'Failed'].some((type) => findCondition(service, type)?.status === 'True');
  const candidates = children.filter(
    (child) =>
      !isDeleting(child) && isFinished(child) && (hasSucceeded(child) ? recorded.has(slotOf(child) ?? 0) : isOver),
  );
  const left = (child: Container): number => finishedAtMs(child, now) + ttl * 1000 - now;
  const waits = candidates.map(left).filter((wait) => wait > 0);
  return {
    remove: candidates.filter((child) => left(child) <= 0).map((container) => ({ container, why: 'Expired' })),
    ...(waits.length === 0 ? {} : { lookAgainMs: Math.min(...waits) }),
  };
}
