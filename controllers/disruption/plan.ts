// What a disruption budget allows now, from what is observed. https://kubernetes.io/docs/tasks/run-application/configure-pdb/
import type { Container } from '../../crds/container.ts';
import {
  isHealthy,
  limitsOf,
  type DisruptionBudget,
  type DisruptionBudgetStatus,
} from '../../crds/disruption-budget.ts';
import { messageOf } from '../../lib/errors.ts';
import { setConditions, type ConditionLike } from '../runtime/conditions.ts';
import { controllerOf, isDeleting } from '../runtime/object-key.ts';

/** An eviction that was granted and did not come to pass within this time is not counted any longer. */
const EVICTION_TIMEOUT_MS = 120_000;

export interface BudgetObserved {
  readonly budget: DisruptionBudget;
  /** Those that it selects. */
  readonly containers: readonly Container[];
  /** How many Containers the controller of this UID wants. */
  readonly wantedBy: (controllerUid: string) => number | undefined;
  /** When the eviction of a Container was seen here to be granted; the API server that did it says so by its own clock. */
  readonly grantedAt: (name: string, at: string) => number;
  readonly now: number;
}

export interface BudgetPlan {
  /** For a merge patch: a name whose eviction is done is null. */
  readonly status: Omit<DisruptionBudgetStatus, 'disruptedPods' | 'disruptedUIDs' | 'conditions'> & {
    readonly disruptedPods?: Readonly<Record<string, null>>;
    readonly disruptedUIDs?: Readonly<Record<string, null>>;
    readonly conditions: readonly ConditionLike[];
  };
  /** A granted eviction runs out then. */
  readonly requeueAfterMs?: number;
}

/** The status: how many are healthy, how many must be, and what may go of the difference. */
export function planBudget(observed: BudgetObserved): BudgetPlan {
  const { budget, now } = observed;
  const containers = observed.containers.filter(({ status }) => !isOver(status?.phase));
  const granted = budget.status?.disruptedPods ?? {};
  const disrupted = pendingEvictions(observed, containers);
  const currentHealthy = containers.filter(
    (one) => isHealthy(one) && !Object.hasOwn(disrupted, one.metadata.name),
  ).length;
  const generation = budget.metadata.generation;
  let expectedPods = 0;
  let desiredHealthy = 0;
  let failure: string | undefined;
  try {
    ({ expectedPods, desiredHealthy } = planNumbers(budget, containers, observed.wantedBy));
  } catch (error) {
    failure = messageOf(error);
  }
  const spare = currentHealthy - desiredHealthy;
  const disruptionsAllowed = failure === undefined && expectedPods > 0 && spare > 0 ? spare : 0;
  const condition =
    failure !== undefined
      ? ({ status: 'False', reason: 'SyncFailed', message: failure } as const)
      : disruptionsAllowed > 0
        ? ({ status: 'True', reason: 'SufficientPods', message: '' } as const)
        : ({ status: 'False', reason: 'InsufficientPods', message: whyNot(observed, desiredHealthy) } as const);
  const done = Object.fromEntries(
    Object.keys(granted).flatMap((name) => (Object.hasOwn(disrupted, name) ? [] : [[name, null]])),
  );
  const status: BudgetPlan['status'] = {
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    ...(Object.keys(done).length > 0 ? { disruptedPods: done, disruptedUIDs: done } : {}),
    disruptionsAllowed,
    currentHealthy,
    desiredHealthy,
    expectedPods,
    conditions: setConditions(budget.status?.conditions, [{ type: 'DisruptionAllowed', ...condition }], {
      now,
      generation,
    }),
  };
  const ends = Object.entries(disrupted).map(([name, at]) => observed.grantedAt(name, at) + EVICTION_TIMEOUT_MS - now);
  return { status, ...(ends.length > 0 ? { requeueAfterMs: Math.max(1, Math.min(...ends)) } : {}) };
}

const isOver = (phase: string | undefined): boolean => phase === 'Succeeded' || phase === 'Failed';

function whyNot({ budget, containers }: BudgetObserved, desiredHealthy: number): string {
  const { minAvailable, maxUnavailable } = limitsOf(budget);
  if (minAvailable === undefined && maxUnavailable === undefined)
    return 'neither spec.minAvailable nor spec.maxUnavailable is set';
  if (containers.length === 0) return 'spec.selector selects no Containers';
  return `${desiredHealthy} must stay healthy`;
}

// What was evicted leaves the list when it is seen to go, or when another one has its name.
function pendingEvictions(
  { budget, now, grantedAt }: BudgetObserved,
  containers: readonly Container[],
): Record<string, string> {
  const { disruptedPods, disruptedUIDs } = budget.status ?? {};
  const byName = new Map(containers.map((container) => [container.metadata.name, container]));
  return Object.fromEntries(
    Object.entries(disruptedPods ?? {}).filter(([name, at]) => {
      const container = byName.get(name);
      if (!container || isDeleting(container)) return false;
      const uid = disruptedUIDs?.[name];
      return (uid === undefined || uid === container.metadata.uid) && grantedAt(name, at) + EVICTION_TIMEOUT_MS > now;
    }),
  );
}

function planNumbers(
  budget: DisruptionBudget,
  containers: readonly Container[],
  wantedBy: BudgetObserved['wantedBy'],
): { expectedPods: number; desiredHealthy: number } {
  const { minAvailable, maxUnavailable } = limitsOf(budget);
  if (maxUnavailable !== undefined) {
    const expectedPods = expectedCount(containers, wantedBy);
    return { expectedPods, desiredHealthy: Math.max(0, expectedPods - scaled(maxUnavailable, expectedPods)) };
  }
  if (typeof minAvailable === 'number') return { expectedPods: containers.length, desiredHealthy: minAvailable };
  if (minAvailable === undefined) return { expectedPods: 0, desiredHealthy: 0 };
  const expectedPods = expectedCount(containers, wantedBy);
  return { expectedPods, desiredHealthy: scaled(minAvailable, expectedPods) };
}

/** The sum of what the controllers of `containers` want. Throws for one that stands alone: nothing says how many there should be. */
function expectedCount(containers: readonly Container[], wantedBy: BudgetObserved['wantedBy']): number {
  const wanted = new Map<string, number>();
  for (const container of containers) {
    const uid = controllerOf(container)?.uid;
    const count = uid === undefined ? undefined : (wanted.get(uid) ?? wantedBy(uid));
    if (uid === undefined || count === undefined) {
      throw new Error(
        `Container ${container.metadata.name} belongs to no Service: only spec.minAvailable as a number works for it`,
      );
    }
    wanted.set(uid, count);
  }
  return [...wanted.values()].reduce((sum, count) => sum + count, 0);
}

/** A number, or a percentage of `total` rounded up. */
const scaled = (limit: number | string, total: number): number =>
  typeof limit === 'number' ? limit : Math.ceil((Number.parseInt(limit, 10) * total) / 100);
