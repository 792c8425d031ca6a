// How the CPU that the replicas of a Service use relates to what is wanted, and how many replicas that asks for. Upstream's rules
// of HorizontalPodAutoscaler: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details
import type { Container } from '../../crds/container.ts';
import { parseQuantity } from '../../lib/quantity.ts';
import { findCondition } from '../runtime/conditions.ts';
import { isDeleting } from '../runtime/object-key.ts';

/** CPU use of one Container, by its name. */
export interface CpuUse {
  readonly cores: number;
  readonly atMs: number;
  readonly windowMs: number;
}

export interface CpuObserved {
  readonly replicas: number;
  readonly children: readonly Container[];
  readonly usage: ReadonlyMap<string, CpuUse>;
  readonly cpuPercent: number;
  /** How long ago its start was seen here; what a Container says of times is by the clock of its node. */
  readonly runningForMs: (child: Container) => number;
}

export type CpuAnswer =
  | {
      readonly kind: 'scale';
      /** Use in percent of what is requested, over those that could be measured. */
      readonly currentPercent: number;
      readonly desired: number;
    }
  | { readonly kind: 'unknown'; readonly reason: 'NoCpuRequest' | 'FailedGetResourceMetric'; readonly message: string };

/** Use within this part of what is wanted changes nothing. */
const TOLERANCE = 0.1;
/** Within this time of its start, a replica that is not Ready is believed to become it. */
const INITIALIZATION_MS = 300_000;
/** One that was not Ready from this time after its start on has never been. */
const INITIAL_READINESS_MS = 30_000;

interface Measured {
  readonly usedCores: number;
  readonly requestedCores: number;
}

/** How many replicas the use of CPU asks for, before any limit. */
export function askCpu({ replicas, children, usage, cpuPercent, runningForMs }: CpuObserved): CpuAnswer {
  const live = children.filter((child) => !isDeleting(child) && !isOver(child));
  const measured: Measured[] = [];
  const unready: Measured[] = [];
  const missing: Measured[] = [];
  for (const child of live) {
    const requestedCores = requestOf(child);
    if (requestedCores === undefined) return noRequest(child);
    const use = usage.get(child.metadata.name);
    const one = { usedCores: use?.cores ?? 0, requestedCores };
    if (isStarting(child, use, runningForMs(child))) unready.push(one);
    else if (use) measured.push(one);
    else missing.push(one);
  }
  if (measured.length === 0) {
    const message =
      live.length === 0
        ? 'there is no Container to measure yet'
        : `no use of CPU is known of any of ${live.length} Container(s): not Ready yet, or their nodes do not answer`;
    return { kind: 'unknown', reason: 'FailedGetResourceMetric', message };
  }
  const wanted = cpuPercent / 100;
  const ratio = ratioOf(measured, wanted);
  const currentPercent = Math.round(ratio * cpuPercent);
  const stay = { kind: 'scale', currentPercent, desired: replicas } as const;
  const holdsUp = ratio > 1 ? unready : [];
  if (holdsUp.length === 0 && missing.length === 0) {
    if (Math.abs(1 - ratio) <= TOLERANCE) return stay;
    return { ...stay, desired: Math.ceil(rounded(ratio * measured.length)) };
  }
  // What is not known must not move the number any further than what is known: missing ones use all they asked for when it
  // is about fewer replicas, and nothing when it is about more, as do those that only start.
  const fallback = ratio < 1 ? Math.max(1, wanted) : 0;
  const all = [
    ...measured,
    ...missing.map((one) => ({ ...one, usedCores: one.requestedCores * fallback })),
    ...holdsUp.map((one) => ({ ...one, usedCores: 0 })),
  ];
  const careful = ratioOf(all, wanted);
  const isTurned = (ratio < 1 && careful > 1) || (ratio > 1 && careful < 1);
  if (Math.abs(1 - careful) <= TOLERANCE || isTurned) return stay;
  const desired = Math.ceil(rounded(careful * all.length));
  const isBackwards = (careful < 1 && desired > replicas) || (careful > 1 && desired < replicas);
  return isBackwards ? stay : { ...stay, desired };
}

/** Without the last bits of a sum of fractions, which would ask for one replica more. */
const rounded = (value: number): number => Number(value.toFixed(6));

function ratioOf(all: readonly Measured[], wanted: number): number {
  const sum = (of: (one: Measured) => number): number => all.reduce((total, one) => total + of(one), 0);
  return sum((one) => one.usedCores) / sum((one) => one.requestedCores) / wanted;
}

const isOver = ({ status }: Container): boolean => status?.phase === 'Failed' || status?.phase === 'Succeeded';

/** What percentages are of: the request, or the limit where there is no request. */
function requestOf({ spec }: Container): number | undefined {
  const text = spec.resources?.requests?.cpu ?? spec.resources?.limits?.cpu;
  const cores = text === undefined ? 0 : parseQuantity(text);
  return cores > 0 ? cores : undefined;
}

const noRequest = ({ metadata }: Container): CpuAnswer => ({
  kind: 'unknown',
  reason: 'NoCpuRequest',
  message:
    'spec.autoscale.cpuPercent is a part of spec.template.spec.resources.requests.cpu (or limits.cpu), ' +
    `which is not set for Container ${metadata.name}`,
});

// What a replica uses to start says nothing of its load.
function isStarting(child: Container, use: CpuUse | undefined, runningMs: number): boolean {
  const ready = findCondition(child, 'Ready');
  const startedAt = Date.parse(child.status?.startedAt ?? '');
  if (child.status?.phase !== 'Running' || !ready || Number.isNaN(startedAt)) return child.status?.phase !== 'Unknown';
  const since = Date.parse(ready.lastTransitionTime);
  if (runningMs >= INITIALIZATION_MS) {
    return ready.status === 'False' && startedAt + INITIAL_READINESS_MS > since;
  }
  return ready.status === 'False' || (use !== undefined && use.atMs < since + use.windowMs);
}
