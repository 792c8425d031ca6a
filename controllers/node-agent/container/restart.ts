// What follows when a container has ended: pure, from its exit and the Container's policy.
import { backoffDelayMs } from '../../../lib/backoff.ts';

/**
 * Docker's numbers: first 100 ms, doubling to a minute, forgotten after ten seconds of running. Unlike Docker's, a run of
 * that length is followed by the next one at once: a pause is against programs that cannot start, as kubelet has it too.
 */
const RESTART_BACKOFF = { initialMs: 100, maxMs: 60_000 } as const;
const STABLE_AFTER_MS = 10_000;

export interface RestartPolicy {
  readonly restartPolicy: 'Always' | 'OnFailure' | 'Never';
  /** Restarts by policy at most; absent = no limit. */
  readonly maxRetries?: number | undefined;
}

export interface Exit {
  readonly exitCode: number;
  readonly startedAtMs: number;
  readonly finishedAtMs: number;
  /** Restarts by policy until now. */
  readonly restartCount: number;
  /** Runs in a row that ended before they counted as stable, without the last one. */
  readonly shortRuns: number;
  /** The agent ended it because it was unhealthy: a failure whatever the exit code. */
  readonly wasUnhealthy: boolean;
}

export type RestartDecision =
  | { readonly kind: 'final' }
  | { readonly kind: 'restart'; readonly atMs: number; readonly restartCount: number; readonly shortRuns: number };

/** Whether, and when, a container that ended is started again. */
export function decideRestart(policy: RestartPolicy, exit: Exit): RestartDecision {
  const failed = exit.exitCode !== 0 || exit.wasUnhealthy;
  if (policy.restartPolicy === 'Never') return { kind: 'final' };
  if (policy.restartPolicy === 'OnFailure' && !failed) return { kind: 'final' };
  if (policy.maxRetries !== undefined && exit.restartCount >= policy.maxRetries) return { kind: 'final' };
  const ranMs = exit.finishedAtMs - exit.startedAtMs;
  const shortRuns = ranMs >= STABLE_AFTER_MS ? 0 : exit.shortRuns + 1;
  return {
    kind: 'restart',
    atMs: exit.finishedAtMs + (shortRuns === 0 ? 0 : backoffDelayMs(shortRuns, RESTART_BACKOFF)),
    restartCount: exit.restartCount + 1,
    shortRuns,
  };
}
