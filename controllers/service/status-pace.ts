// How often a Service's status is written while many of its Containers come or go. Pure.
import type { ServiceStatus } from '../../crds/service.ts';
import { isSameStatus } from '../runtime/conditions.ts';

/** Numbers that change with every Container need not be told more often. */
const PACE_MS = 200;

/** How long `next` may wait after `current` was written at `writtenAt`: 0 for what anybody may be waiting for. */
export function statusDelayMs(
  current: ServiceStatus | undefined,
  next: ServiceStatus,
  { writtenAt, now }: { writtenAt: number | undefined; now: number },
): number {
  if (current === undefined || writtenAt === undefined || isAtRest(next) || !isOnlyProgress(current, next)) return 0;
  const delayMs = writtenAt + PACE_MS - now;
  // Of a clock that was set back nothing can be learnt, until the next write.
  return delayMs > PACE_MS ? 0 : Math.max(delayMs, 0);
}

const isAtRest = ({ replicas, readyReplicas, desiredReplicas }: ServiceStatus): boolean =>
  replicas === desiredReplicas && readyReplicas === desiredReplicas;

/** Nothing but numbers, and what conditions say in words, is another. */
function isOnlyProgress(current: ServiceStatus, next: ServiceStatus): boolean {
  const hasTurned = next.conditions?.some(
    ({ type, status }) => current.conditions?.find((one) => one.type === type)?.status !== status,
  );
  return !hasTurned && isSameStatus(current, withoutNumbers(next));
}

const PROGRESS = new Set(['replicas', 'readyReplicas', 'updatedReplicas', 'availableReplicas', 'conditions']);

const withoutNumbers = (status: ServiceStatus): object =>
  Object.fromEntries(Object.entries(status).filter(([field]) => !PROGRESS.has(field)));
