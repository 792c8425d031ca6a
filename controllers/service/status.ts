// What a Service says of itself.
import type { Container } from '../../crds/container.ts';
import type { Service, ServiceStatus } from '../../crds/service.ts';
import { findCondition, setConditions, type NewCondition } from '../runtime/conditions.ts';
import { isDeleting } from '../runtime/object-key.ts';
import { progressConditions } from './progress.ts';
import type { PublishedPorts } from './published-ports.ts';
import { pruneRevisions, revisionOf, type Revision } from './revision.ts';
import { byName, isAvailable, isOfRevision, isReady, nextAvailableMs, SERVICE_LABEL } from './slots.ts';
import type { UpdateDecision } from './update-state.ts';
import type { WantedSlot } from './wanted-slots.ts';

export interface StatusInput {
  readonly service: Service;
  readonly children: readonly Container[];
  readonly wanted: readonly WantedSlot[];
  readonly decision: UpdateDecision;
  readonly history: readonly Revision[];
  readonly conflicts: readonly string[];
  readonly virtualIPs: NonNullable<ServiceStatus['virtualIPs']>;
  /** Networks on which no virtual address is left for it. */
  readonly exhausted?: readonly string[];
  readonly published: PublishedPorts;
  readonly now: number;
}

/** The status for what is observed. `lookAgainMs` is set while a Container is Ready but not yet available. */
export function planStatus(input: StatusInput): { status: ServiceStatus; lookAgainMs?: number } {
  const { service, now, decision } = input;
  const { minReadySeconds, revisionHistoryLimit } = service.spec;
  const { update, target, fallback } = decision;
  const wanted = input.wanted.length;
  const live = input.children.filter((child) => !isDeleting(child));
  const ready = live.filter(isReady);
  const available = live.filter((child) => isAvailable(child, minReadySeconds, now));
  const isThrough = update.phase === 'Completed' || update.phase === 'RolledBack';
  const currentRevision = isThrough ? target.hash : service.status?.currentRevision;
  const present = revisionOf(input.history, service.spec.template)?.hash;
  const inUse = new Set([target.hash, fallback.hash, currentRevision, present]);
  const pinned = [service.spec.rollbackTo, update.fromRevision];
  for (const { revision, hash } of input.history) if (pinned.includes(revision)) inUse.add(hash);
  const status: ServiceStatus = {
    observedGeneration: service.metadata.generation,
    desiredReplicas: wanted,
    replicas: live.length,
    readyReplicas: ready.length,
    updatedReplicas: live.filter((child) => isOfRevision(child, target.hash)).length,
    availableReplicas: available.length,
    selector: `${SERVICE_LABEL}=${service.metadata.name}`,
    publishedPorts: input.published.held,
    virtualIPs: input.virtualIPs,
    ...(currentRevision === undefined ? {} : { currentRevision }),
    updateRevision: target.hash,
    update,
    revisions: pruneRevisions(input.history, { inUse, limit: revisionHistoryLimit }),
    conditions: setConditions(
      service.status?.conditions,
      [
        availableCondition(available.length, wanted, live),
        ...progressConditions(input),
        readyCondition(ready.length, wanted, live, input),
      ],
      { now, generation: service.metadata.generation },
    ),
  };
  const lookAgainMs = nextAvailableMs(live, minReadySeconds, now);
  return lookAgainMs === undefined ? { status } : { status, lookAgainMs };
}

function availableCondition(available: number, wanted: number, live: readonly Container[]): NewCondition {
  return available >= wanted
    ? { type: 'Available', status: 'True', reason: 'ReplicasAvailable', message: `${available} of ${wanted} available` }
    : {
        type: 'Available',
        status: 'False',
        reason: 'ReplicasUnavailable',
        message: `${available} of ${wanted} available${culprit(live)}`,
      };
}

function readyCondition(
  ready: number,
  wanted: number,
  live: readonly Container[],
  reach: Pick<StatusInput, 'published' | 'exhausted'>,
): NewCondition {
  const message = `${ready} of ${wanted} Ready`;
  const obstacle = reachObstacle(reach);
  if (obstacle) return { type: 'Ready', status: 'False', ...obstacle, message: `${message}; ${obstacle.message}` };
  if (ready >= wanted && live.length <= wanted) {
    return { type: 'Ready', status: 'True', reason: 'ReplicasReady', message };
  }
  if (ready >= wanted) {
    return {
      type: 'Ready',
      status: 'True',
      reason: 'ReplicasReady',
      message: `${message}, ${live.length - wanted} more than wanted`,
    };
  }
  const first = firstNotReady(live);
  return {
    type: 'Ready',
    status: 'False',
    reason: first?.condition?.reason ?? 'ReplicasMissing',
    message: `${message}${culprit(live)}`,
  };
}

/** Why a Service cannot be reached as it says, however many of its Containers are Ready. */
export function reachObstacle({
  published: { conflicts },
  exhausted = [],
}: Pick<StatusInput, 'published' | 'exhausted'>): { readonly reason: string; readonly message: string } | undefined {
  if (conflicts.length > 0) return { reason: 'PortConflict', message: conflicts.join(', ') };
  if (exhausted.length === 0) return undefined;
  const where = exhausted.length === 1 ? `network ${exhausted[0]}` : `networks ${exhausted.join(', ')}`;
  return {
    reason: 'VirtualIPsExhausted',
    message: `no virtual address is left on ${where}: use a larger subnet, delete Services there, or endpointMode DNSRR`,
  };
}

/** The first by name that is not Ready. */
export function firstNotReady(
  live: readonly Container[],
): { name: string; condition: ReturnType<typeof findCondition> } | undefined {
  let first: Container | undefined;
  for (const child of live) {
    if (isReady(child)) continue;
    if (first === undefined || byName(child.metadata.name, first.metadata.name) < 0) first = child;
  }
  return first && { name: first.metadata.name, condition: findCondition(first, 'Ready') };
}

function culprit(live: readonly Container[]): string {
  const first = firstNotReady(live);
  if (!first) return '';
  const why = first.condition && [first.condition.reason, first.condition.message].filter(Boolean).join(', ');
  return `; waiting for ${first.name}${why ? ` (${why})` : ''}`;
}
