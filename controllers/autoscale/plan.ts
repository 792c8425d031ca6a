// How many replicas an autoscaled Service should have, and what it says of that. Pure.
import type { Container } from '../../crds/container.ts';
import type { Service } from '../../crds/service.ts';
import type { NewCondition } from '../runtime/conditions.ts';
import { askCpu, type CpuUse } from './cpu-ratio.ts';

/** What was asked for at a time, before any limit. */
export interface Recommendation {
  readonly at: number;
  readonly replicas: number;
}

export interface AutoscaleObserved {
  readonly service: Service;
  readonly children: readonly Container[];
  /** By the names of the children; a message when it could not be had. */
  readonly usage: ReadonlyMap<string, CpuUse> | string;
  /** Of the past, oldest first. */
  readonly recommendations: readonly Recommendation[];
  /** The most replicas that were asked for in this time stay. */
  readonly downWindowMs: number;
  /** See askCpu(). */
  readonly runningForMs: (child: Container) => number;
  readonly now: number;
}

export interface AutoscalePlan {
  readonly replicas: number;
  readonly currentCpuPercent: number | undefined;
  readonly conditions: readonly NewCondition[];
  readonly recommendations: readonly Recommendation[];
  /** In words, for an Event. */
  readonly why: string;
}

/** From one look to the next replicas at most double, or come to this many. */
const SCALE_UP_FLOOR = 4;

/** Of a Service with spec.autoscale. */
export function planAutoscale(observed: AutoscaleObserved): AutoscalePlan {
  const { service, children, usage, runningForMs, now } = observed;
  const { replicas } = service.spec;
  const { minReplicas, maxReplicas, cpuPercent } = autoscaleOf(service);
  const keep = { replicas, currentCpuPercent: undefined, recommendations: observed.recommendations, why: '' };
  if (replicas === 0) {
    return { ...keep, conditions: [inactive('ScalingDisabled', 'spec.replicas is 0: set it to 1 or more to go on')] };
  }
  const answer =
    typeof usage === 'string'
      ? ({ kind: 'unknown', reason: 'FailedGetResourceMetric', message: usage } as const)
      : askCpu({ replicas, children, usage, cpuPercent, runningForMs });
  const active: NewCondition =
    answer.kind === 'scale'
      ? { type: 'ScalingActive', status: 'True', reason: 'ValidMetricFound', message: `wants ${cpuPercent} % CPU` }
      : inactive(answer.reason, answer.message);
  if (replicas > maxReplicas || replicas < minReplicas) {
    const [wanted, words] =
      replicas > maxReplicas ? [maxReplicas, 'above maxReplicas'] : [minReplicas, 'below minReplicas'];
    return { ...keep, replicas: wanted, conditions: [active], why: `spec.replicas was ${words}` };
  }
  if (answer.kind === 'unknown') return { ...keep, conditions: [active] };

  const recent = observed.recommendations.filter(({ at }) => now - at < observed.downWindowMs);
  // Whoever has no past, because it is new or because this process is, has the present as one.
  const past = observed.recommendations.length === 0 ? [{ at: now, replicas }] : recent;
  const recommendations = [...past, { at: now, replicas: answer.desired }];
  const steady = Math.max(answer.desired, ...past.map((one) => one.replicas));
  const stabilized = answer.desired < replicas ? Math.min(replicas, steady) : answer.desired;
  const ceiling = Math.min(maxReplicas, Math.max(2 * replicas, SCALE_UP_FLOOR));
  const wanted = Math.max(minReplicas, Math.min(stabilized, ceiling));
  return {
    replicas: wanted,
    currentCpuPercent: answer.currentPercent,
    conditions: [active, limitedCondition(stabilized, { wanted, minReplicas, maxReplicas })],
    recommendations,
    why: `CPU use was ${answer.currentPercent} %, ${cpuPercent} % are wanted`,
  };
}

function autoscaleOf({ spec }: Service): NonNullable<Service['spec']['autoscale']> {
  if (!spec.autoscale) throw new Error('the Service has no spec.autoscale');
  return spec.autoscale;
}

const inactive = (reason: string, message: string): NewCondition => ({
  type: 'ScalingActive',
  status: 'False',
  reason,
  message,
});

function limitedCondition(
  asked: number,
  { wanted, minReplicas, maxReplicas }: { wanted: number; minReplicas: number; maxReplicas: number },
): NewCondition {
  const limited = (reason: string, message: string): NewCondition => ({
    type: 'ScalingLimited',
    status: 'True',
    reason,
    message,
  });
  if (asked > maxReplicas) return limited('TooManyReplicas', `more than maxReplicas (${maxReplicas}) are asked for`);
  if (asked < minReplicas) return limited('TooFewReplicas', `fewer than minReplicas (${minReplicas}) are asked for`);
  if (asked > wanted) return limited('ScaleUpLimit', `${asked} are asked for, of which ${wanted} come first`);
  return { type: 'ScalingLimited', status: 'False', reason: 'DesiredWithinRange', message: '' };
}
