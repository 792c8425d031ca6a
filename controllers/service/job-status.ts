// What a Service of mode Job says of itself.
import type { Container } from '../../crds/container.ts';
import type { Service, ServiceStatus } from '../../crds/service.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { setConditions, type NewCondition } from '../runtime/conditions.ts';
import { formatSlots, jobOf, type JobProgress } from './job-progress.ts';
import type { PublishedPorts } from './published-ports.ts';
import { byName, isReady, SERVICE_LABEL } from './slots.ts';
import { reachObstacle } from './status.ts';

export interface JobStatusInput {
  readonly service: Service;
  readonly progress: JobProgress;
  readonly conflicts: readonly string[];
  readonly virtualIPs: NonNullable<ServiceStatus['virtualIPs']>;
  /** Networks on which no virtual address is left for it. */
  readonly exhausted?: readonly string[];
  readonly published: PublishedPorts;
  readonly now: number;
}

/** Numbers, the slots that are done, and the conditions Complete, Failed, Progressing and Ready. */
export function planJobStatus(input: JobStatusInput): ServiceStatus {
  const { service, progress, now } = input;
  const { outcome, active, completed, succeeded, failed } = progress;
  const { reason, message } = describeProgress(input);
  const obstacle = reachObstacle(input);
  const ready: Pick<NewCondition, 'reason' | 'message'> =
    outcome === 'Running' && obstacle
      ? { reason: obstacle.reason, message: `${message}; ${obstacle.message}` }
      : { reason, message };
  const conditions: NewCondition[] = [
    { type: 'Complete', status: outcome === 'Complete' ? 'True' : 'False', reason, message },
    { type: 'Failed', status: outcome === 'Failed' ? 'True' : 'False', reason, message },
    {
      type: 'Progressing',
      status: outcome === 'Failed' || reason === 'NameConflict' ? 'False' : 'True',
      reason,
      message,
    },
    { type: 'Ready', status: outcome === 'Complete' ? 'True' : 'False', ...ready },
  ];
  return {
    observedGeneration: service.metadata.generation,
    desiredReplicas: jobOf(service).completions,
    replicas: active.length,
    readyReplicas: active.filter(isReady).length,
    succeeded,
    failed,
    completedSlots: formatSlots(completed),
    selector: `${SERVICE_LABEL}=${service.metadata.name}`,
    publishedPorts: input.published.held,
    virtualIPs: input.virtualIPs,
    conditions: setConditions(service.status?.conditions, conditions, {
      now,
      generation: service.metadata.generation,
    }),
  };
}

function describeProgress({ service, progress, conflicts }: JobStatusInput): { reason: string; message: string } {
  const { outcome, active, succeeded, failed, pausedUntil } = progress;
  const { completions, backoffLimit } = jobOf(service);
  const counts = `${succeeded} of ${completions} completed, ${failed} failed`;
  if (outcome === 'Complete') return { reason: 'Complete', message: counts };
  if (outcome === 'Failed') {
    return { reason: 'BackoffLimitExceeded', message: `${counts}, more than the backoffLimit of ${backoffLimit}` };
  }
  if (conflicts.length > 0) {
    return {
      reason: 'NameConflict',
      message: `Container ${conflicts.join(', ')} exists and does not belong to this Service: delete or rename it`,
    };
  }
  if (pausedUntil !== undefined) {
    return { reason: 'BackOff', message: `${counts}; next try at ${rfc3339(pausedUntil)}${names(active)}` };
  }
  return { reason: 'Running', message: `${counts}${names(active)}` };
}

const SHOWN = 3;

function names(active: readonly Container[]): string {
  if (active.length === 0) return '';
  const shown = active
    .map(({ metadata }) => metadata.name)
    .toSorted(byName)
    .slice(0, SHOWN);
  return `; going on: ${shown.join(', ')}${active.length > SHOWN ? ` and ${active.length - SHOWN} more` : ''}`;
}
