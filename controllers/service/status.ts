// What a Service says of itself.
import type { Container } from '../../crds/container.ts';
import type { Service, ServiceStatus } from '../../crds/service.ts';
import { findCondition, setConditions, type NewCondition } from '../runtime/conditions.ts';
import { isDeleting } from '../runtime/object-key.ts';
import { isAvailable, isReady, REVISION_LABEL, SERVICE_LABEL } from './slots.ts';
import type { PublishedPorts } from './published-ports.ts';
import { recordRevision } from './revision.ts';

export interface StatusInput {
  readonly service: Service;
  readonly children: readonly Container[];
  readonly revision: string;
  readonly conflicts: readonly string[];
  readonly virtualIPs: NonNullable<ServiceStatus['virtualIPs']>;
  readonly published: PublishedPorts;
  readonly now: number;
}

/** The status for what is observed. `lookAgainMs` is set while a Container is Ready but not yet available. */
export function planStatus(input: StatusInput): { status: ServiceStatus; lookAgainMs?: number } {
  const { service, revision, now } = input;
  const { replicas: wanted, minReadySeconds } = service.spec;
  const live = input.children.filter((child) => !isDeleting(child));
  const ready = live.filter(isReady);
  const updated = live.filter((child) => child.metadata.labels?.[REVISION_LABEL] === revision);
  const available = live.filter((child) => isAvailable(child, minReadySeconds, now));
  const isUpdated = live.length === wanted && updated.length === wanted && available.length === wanted;
  const status: ServiceStatus = {
    observedGeneration: service.metadata.generation,
    replicas: live.length,
    readyReplicas: ready.length,
    updatedReplicas: updated.length,
    availableReplicas: available.length,
    selector: `${SERVICE_LABEL}=${service.metadata.name}`,
    publishedPorts: input.published.held,
    virtualIPs: input.virtualIPs,
    currentRevision: isUpdated ? revision : (service.status?.currentRevision ?? revision),
    updateRevision: revision,
    revisions: recordRevision(service.status?.revisions ?? [], service.spec.template, {
      hash: revision,
      limit: service.spec.revisionHistoryLimit,
      now,
    }),
    conditions: setConditions(
      service.status?.conditions,
      [
        availableCondition(available.length, wanted, live),
        progressingCondition(input, { live, updated, available, isUpdated }),
        readyCondition(ready.length, wanted, live, input.published),
      ],
      { now, generation: service.metadata.generation },
    ),
  };
  return available.length < ready.length ? { status, lookAgainMs: 1_000 } : { status };
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
  { conflicts }: PublishedPorts,
): NewCondition {
  const message = `${ready} of ${wanted} Ready`;
  if (conflicts.length > 0) {
    return { type: 'Ready', status: 'False', reason: 'PortConflict', message: `${message}; ${conflicts.join(', ')}` };
  }
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

function progressingCondition(
  { conflicts, service, children }: StatusInput,
  counts: {
    live: readonly Container[];
    updated: readonly Container[];
    available: readonly Container[];
    isUpdated: boolean;
  },
): NewCondition {
  const wanted = service.spec.replicas;
  if (conflicts.length > 0) {
    return {
      type: 'Progressing',
      status: 'False',
      reason: 'NameConflict',
      message: `Container ${conflicts.join(', ')} exists and does not belong to this Service: delete or rename it`,
    };
  }
  if (counts.isUpdated && children.length === wanted) {
    return { type: 'Progressing', status: 'True', reason: 'Complete', message: `${wanted} of ${wanted} updated` };
  }
  const reason =
    counts.updated.length < counts.live.length ? 'Updating' : counts.live.length > wanted ? 'ScalingDown' : 'Scaling';
  return {
    type: 'Progressing',
    status: 'True',
    reason,
    message: `${counts.updated.length} of ${wanted} updated, ${counts.available.length} available${culprit(counts.live)}`,
  };
}

function firstNotReady(
  live: readonly Container[],
): { name: string; condition: ReturnType<typeof findCondition> } | undefined {
  const child = live
    .filter((candidate) => !isReady(candidate))
    .toSorted((a, b) => a.metadata.name.localeCompare(b.metadata.name, 'en', { numeric: true }))[0];
  return child && { name: child.metadata.name, condition: findCondition(child, 'Ready') };
}

function culprit(live: readonly Container[]): string {
  const first = firstNotReady(live);
  if (!first) return '';
  const why = first.condition && [first.condition.reason, first.condition.message].filter(Boolean).join(', ');
  return `; waiting for ${first.name}${why ? ` (${why})` : ''}`;
}
