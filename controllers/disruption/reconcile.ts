// Keeps the status of a disruption budget; evictions spend what it allows (apiserver/pods/eviction-budget.ts).
import type { KindClient } from '../../client/client.ts';
import type { Container } from '../../crds/container.ts';
import { isBudgetOf, type DisruptionBudget } from '../../crds/disruption-budget.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Cache, Index } from '../runtime/cache.ts';
import { findCondition } from '../runtime/conditions.ts';
import type { Events } from '../runtime/events.ts';
import { isDeleting } from '../runtime/object-key.ts';
import type { Reconcile } from '../runtime/reconciler.ts';
import { createSightings, type Sightings } from '../runtime/sightings.ts';
import { writeStatus } from '../runtime/write.ts';
import { planBudget } from './plan.ts';

export interface DisruptionDeps {
  readonly client: KindClient<DisruptionBudget>;
  readonly budgets: Cache<DisruptionBudget>;
  readonly containersIn: Index<Container>;
  readonly wantedBy: (controllerUid: string) => number | undefined;
  readonly events: Events;
  readonly clock: Clock;
}

/** One budget. The write is conditional: an eviction that spent meanwhile is never overwritten. */
export function createDisruptionReconciler(deps: DisruptionDeps): Reconcile {
  const grants = new Map<string, Sightings>();
  return async (key, { signal }) => {
    const budget = deps.budgets.get(key);
    if (!budget || isDeleting(budget)) {
      grants.delete(key);
      return {};
    }
    const seen = grants.get(key) ?? createSightings(deps.clock);
    grants.set(key, seen);
    seen.retain(new Set(Object.keys(budget.status?.disruptedPods ?? {})));
    const containers = deps.containersIn
      .get(budget.metadata.namespace ?? '')
      .filter((container) => isBudgetOf(budget, container));
    const { status, requeueAfterMs } = planBudget({
      budget,
      containers,
      wantedBy: deps.wantedBy,
      grantedAt: seen.since,
      now: deps.clock.now(),
    });
    await writeStatus(deps.client, budget, status, signal);
    const condition = status.conditions.find(({ type }) => type === 'DisruptionAllowed');
    if (condition?.reason === 'SyncFailed' && findCondition(budget, 'DisruptionAllowed')?.reason !== 'SyncFailed') {
      deps.events.record(budget, {
        type: 'Warning',
        reason: 'CalculateExpectedPodCountFailed',
        message: `failed to calculate the number of expected pods: ${condition.message}`,
      });
    }
    return requeueAfterMs === undefined ? {} : { requeueAfterMs };
  };
}
