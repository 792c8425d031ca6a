// Moves replicas to where the scheduler would place them today, a few at a time; or only says so.
import type { ApiClient } from '../../client/client.ts';
import type { Node } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import type { DisruptionBudget } from '../../crds/disruption-budget.ts';
import type { Service } from '../../crds/service.ts';
import type { Clock } from '../../lib/clock.ts';
import { isEvictionRefused } from '../disruption/refusal.ts';
import { beyondBudgets } from '../disruption/violations.ts';
import type { Cache } from '../runtime/cache.ts';
import type { Events } from '../runtime/events.ts';
import { joinKey, keyOf } from '../runtime/object-key.ts';
import type { Reconcile } from '../runtime/reconciler.ts';
import { createSightings, type Sightings } from '../runtime/sightings.ts';
import { companionsOf } from '../scheduler/filters/co-location.ts';
import { createLedger } from '../scheduler/ledger.ts';
import { placementContext, type PlacementSources } from '../scheduler/placement-context.ts';
import { planMoves, type Move, type RebalanceObserved } from './plan.ts';

export interface RebalancerDeps extends PlacementSources {
  readonly mode: 'dry-run' | 'on';
  readonly maxMoves: number;
  readonly settleMs: number;
  readonly client: Pick<ApiClient, 'evict'>;
  readonly budgets: Cache<DisruptionBudget>;
  readonly services: Cache<Service>;
  readonly nodes: Cache<Node>;
  readonly childrenOf: (service: Service) => readonly Container[];
  readonly events: Events;
  readonly clock: Clock;
}

/** There is one key: the spread of the whole cluster. */
export function createRebalanceReconciler(deps: RebalancerDeps): Reconcile {
  const moving = new Map<string, string>();
  const sightings = createSightings(deps.clock);
  /** What a dry run said last about a Service, so that it says it once. */
  const told = new Map<string, string>();

  async function move({ service, container, from, to }: Move, signal: AbortSignal): Promise<void> {
    const { name, namespace = '', uid = '' } = container.metadata;
    const key = keyOf(service);
    if (deps.mode === 'dry-run') {
      const message = `would move Container ${name} from node ${from} to ${to} for a better spread`;
      if (told.get(key) === message) return;
      told.set(key, message);
      deps.events.record(service, { type: 'Normal', reason: 'RebalanceDryRun', message });
      return;
    }
    try {
      await deps.client.evict(name, namespace, { uid }, signal);
    } catch (error) {
      // Somebody else spent the budget meanwhile; its next change brings another look.
      if (isEvictionRefused(error)) return;
      throw error;
    }
    moving.set(key, uid);
    const message = `deleted Container ${name} on node ${from}: node ${to} gives a better spread`;
    deps.events.record(service, { type: 'Normal', reason: 'Rebalanced', message });
  }

  return async (_key, { signal }) => {
    const nodes = deps.nodes.list();
    sightings.retain(new Set(nodes.map(({ metadata }) => metadata.name)));
    for (const node of nodes) seenSince(sightings, node);
    const plan = planMoves(observe(deps, moving, sightings));
    for (const key of plan.arrived) moving.delete(key);
    for (const key of told.keys()) if (!deps.services.get(key)) told.delete(key);
    for (const next of plan.moves) await move(next, signal);
    return plan.requeueAfterMs === undefined ? {} : { requeueAfterMs: plan.requeueAfterMs };
  };
}

/** Noted at every look, so that a node that has been Ready for long need not wait when it is first moved to. */
function seenSince(sightings: Sightings, { metadata, status }: Node): number {
  const at = status?.conditions?.find(({ type }) => type === 'Ready')?.lastTransitionTime ?? '';
  return sightings.since(metadata.name, at);
}

function observe(deps: RebalancerDeps, moving: ReadonlyMap<string, string>, sightings: Sightings): RebalanceObserved {
  const ledger = createLedger();
  for (const node of deps.nodes.list()) ledger.setNode(node);
  const budgets = deps.budgets.list();
  const tied = new Set<string>();
  for (const container of deps.containers.list()) {
    ledger.setContainer(container);
    for (const name of companionsOf(container)) tied.add(joinKey(container.metadata.namespace, name));
  }
  return {
    services: deps.services.list(),
    nodes: ledger.nodes(),
    context: placementContext(deps, ledger),
    childrenOf: deps.childrenOf,
    tied,
    mayDisrupt: (container) => beyondBudgets([container], budgets).size === 0,
    moving,
    maxMoves: deps.mode === 'dry-run' ? Number.POSITIVE_INFINITY : deps.maxMoves,
    settleMs: deps.settleMs,
    seenSince: (node) => seenSince(sightings, node),
    now: deps.clock.now(),
  };
}
