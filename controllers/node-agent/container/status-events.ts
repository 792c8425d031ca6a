// What a change of a Container's status is worth an Event. Pure.
import type { ContainerStatus } from '../../../crds/container.ts';
import { currentOf, type Observed } from './plan.ts';
import { firstMissing } from './prepared.ts';
import { exitReason } from './last-termination.ts';
import { describeEnd } from './status.ts';

export interface StatusEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  /** Without times and ids, so that the same again is counted instead of listed. */
  readonly message: string;
}

/** Waits that are the ordinary course of things. */
const ORDINARY = new Set(['Pulling', 'ImageNotReady', 'NetworkNotReady', 'WaitingForImage', 'WaitingForDependency']);

/** Events for the step from the status `before` to `after`, which was built from `observed`. */
export function eventsOfChange(
  before: ContainerStatus | undefined,
  after: ContainerStatus,
  observed: Observed,
): StatusEvent[] {
  return [...exitEvent(before, observed), ...waitEvent(before, after, observed), ...healthEvent(before, after)];
}

function exitEvent(before: ContainerStatus | undefined, observed: Observed): StatusEvent[] {
  const { run } = currentOf(observed);
  if (run?.state !== 'Exited' || observed.container.metadata.deletionTimestamp !== undefined) return [];
  if (before?.containerID === run.id && before.finishedAt !== undefined) return [];
  const reason = exitReason(run, observed.unhealthyStops.has(run.id));
  const isOrdinary = reason === 'Completed' || observed.container.spec.desiredState === 'Stopped';
  return [
    {
      type: isOrdinary ? 'Normal' : 'Warning',
      reason: reason === 'Error' ? 'Exited' : reason,
      message: describeEnd(run, reason),
    },
  ];
}

function waitEvent(before: ContainerStatus | undefined, after: ContainerStatus, observed: Observed): StatusEvent[] {
  const missing = observed.prepared && firstMissing(observed.prepared);
  if (!missing || after.phase !== 'Pending' || after.reason !== missing.reason) return [];
  if (before?.reason === missing.reason && before.message === missing.message) return [];
  const { reason, message } = missing;
  return [{ type: ORDINARY.has(reason) ? 'Normal' : 'Warning', reason, message }];
}

function healthEvent(before: ContainerStatus | undefined, after: ContainerStatus): StatusEvent[] {
  const [was, is] = [before?.health?.status, after.health?.status];
  if (is === 'Unhealthy' && was !== 'Unhealthy') {
    const { failingStreak = 0, output = '' } = after.health ?? {};
    return [{ type: 'Warning', reason: 'Unhealthy', message: `health check failed ${failingStreak} times: ${output}` }];
  }
  if (is === 'Healthy' && was === 'Unhealthy' && before?.containerID === after.containerID)
    return [{ type: 'Normal', reason: 'Healthy', message: 'health check succeeds again' }];
  return [];
}
