// How far a Job is: which slots are done, how many tries failed, and whether it is over.
import type { Container } from '../../crds/container.ts';
import type { Service } from '../../crds/service.ts';
import { backoffDelayMs } from '../../lib/backoff.ts';
import { isDeleting } from '../runtime/object-key.ts';
import { slotOf } from './slots.ts';

const JOB_DEFAULTS = { completions: 1, parallelism: 1, backoffLimit: 6 };
const JOB_BACKOFF = { initialMs: 1_000, maxMs: 300_000 };

export interface JobProgress {
  readonly outcome: 'Running' | 'Complete' | 'Failed';
  /** Slots whose Container ended with exit code 0, now or before. */
  readonly completed: ReadonlySet<number>;
  readonly succeeded: number;
  /** Tries that failed, restarts in place among them. */
  readonly failed: number;
  /** Live Containers that are not at their end. */
  readonly active: readonly Container[];
  /** The end of the pause after the last failures; undefined when there is none. */
  readonly pausedUntil: number | undefined;
}

export const jobOf = ({ spec }: Service): typeof JOB_DEFAULTS => ({ ...JOB_DEFAULTS, ...spec.job });

/**
 * The progress of the Job, from its Containers and from what the status remembers of Containers that are gone. The
 * outcome follows from the numbers alone, so that a higher completions or backoffLimit lets a Job go on.
 */
export function jobProgress(service: Service, children: readonly Container[], now: number): JobProgress {
  const { completions, backoffLimit } = jobOf(service);
  const live = children.filter((child) => !isDeleting(child));
  const completed = parseSlots(service.status?.completedSlots ?? '');
  for (const child of live) {
    const slot = slotOf(child);
    if (slot !== undefined && hasSucceeded(child)) completed.add(slot);
  }
  const failed = Math.max(
    service.status?.failed ?? 0,
    live.reduce((sum, child) => sum + failuresOf(child), 0),
  );
  const succeeded = [...completed].filter((slot) => slot <= completions).length;
  const outcome = succeeded >= completions ? 'Complete' : failed > backoffLimit ? 'Failed' : 'Running';
  return {
    outcome,
    completed,
    succeeded,
    failed,
    active: live.filter((child) => !isFinished(child)),
    pausedUntil: outcome === 'Running' ? pauseEnd(live, now) : undefined,
  };
}

/** At its end by itself; one that a user stopped by its desiredState waits to be let on. */
export const isFinished = (child: Container): boolean => hasSucceeded(child) || hasFailed(child);
export const hasSucceeded = ({ spec, status }: Container): boolean =>
  spec.desiredState === 'Running' && status?.phase === 'Succeeded';
const hasFailed = ({ spec, status }: Container): boolean =>
  spec.desiredState === 'Running' && status?.phase === 'Failed';

const failuresOf = (child: Container): number =>
  (child.spec.restartPolicy === 'OnFailure' ? (child.status?.restartCount ?? 0) : 0) + Number(hasFailed(child));

export function finishedAtMs(child: Container, fallback: number): number {
  const finishedAt = Date.parse(child.status?.finishedAt ?? '');
  return Number.isNaN(finishedAt) ? fallback : finishedAt;
}

// The pause grows with the failures since the last success, whatever their slots: what fails everywhere is not tried
// faster because there are many slots.
function pauseEnd(live: readonly Container[], now: number): number | undefined {
  const lastSuccess = Math.max(...live.filter(hasSucceeded).map((child) => finishedAtMs(child, now)));
  const failures = live.filter(hasFailed).map((child) => finishedAtMs(child, now));
  const inARow = failures.filter((finishedAt) => finishedAt > lastSuccess);
  if (inARow.length === 0) return undefined;
  const end = Math.max(...inARow) + backoffDelayMs(inARow.length, JOB_BACKOFF);
  return end > now ? end : undefined;
}

/** `1-3,5` as a set. What is not of this form counts as nothing. */
export function parseSlots(text: string): Set<number> {
  const slots = new Set<number>();
  for (const range of text.split(',')) {
    const [, from = '', to = from] = /^(\d{1,7})(?:-(\d{1,7}))?$/.exec(range) ?? [];
    for (let slot = Number(from); from !== '' && slot <= Number(to); slot += 1) slots.add(slot);
  }
  return slots;
}

/** The inverse of parseSlots(). */
export function formatSlots(slots: ReadonlySet<number>): string {
  const ranges: { from: number; to: number }[] = [];
  for (const slot of [...slots].toSorted((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last?.to === slot - 1) last.to = slot;
    else ranges.push({ from: slot, to: slot });
  }
  return ranges.map(({ from, to }) => (from === to ? String(from) : `${from}-${to}`)).join(',');
}
