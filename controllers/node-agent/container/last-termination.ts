// How the run before the present one ended. The present run carries it, so that it is known even when the restart came
// before the end was ever written into a status.
import type { ContainerStatus } from '../../../crds/container.ts';
import { rfc3339 } from '../../../lib/clock.ts';
import type { ContainerState } from '../runtime/node-runtime.ts';
import { ANNOTATIONS } from './annotations.ts';

export type Termination = NonNullable<ContainerStatus['lastTermination']>;

/** Why a run ended, as one word. */
export function exitReason(run: ContainerState, wasUnhealthy: boolean): string {
  if (run.reason === 'OOMKilled' || run.reason === 'Evicted') return run.reason;
  if (wasUnhealthy) return 'Unhealthy';
  return run.exitCode === 0 ? 'Completed' : 'Error';
}

/** What is to be told of a run that has ended. */
export function terminationOf(run: ContainerState, wasUnhealthy: boolean): Termination {
  return {
    containerID: run.id,
    exitCode: run.exitCode,
    reason: exitReason(run, wasUnhealthy),
    ...(run.startedAtMs > 0 ? { startedAt: rfc3339(run.startedAtMs) } : {}),
    ...(run.finishedAtMs > 0 ? { finishedAt: rfc3339(run.finishedAtMs) } : {}),
  };
}

/** What `run` carries of the one before. */
export function carriedTermination(run: ContainerState): Termination | undefined {
  const text = run.annotations[ANNOTATIONS.lastTermination];
  return text === undefined ? undefined : (JSON.parse(text) as Termination);
}
