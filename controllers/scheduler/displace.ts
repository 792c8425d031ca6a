// Makes room for a Container that fits nowhere: less important ones are told why, and deleted; their Service makes
// them again where there is room.
import type { KindClient } from '../../client/client.ts';
import type { Container } from '../../crds/container.ts';
import type { DisruptionBudget } from '../../crds/disruption-budget.ts';
import type { Clock } from '../../lib/clock.ts';
import { isNotFound } from '../../lib/errors.ts';
import { beyondBudgets } from '../disruption/violations.ts';
import type { Cache } from '../runtime/cache.ts';
import { setConditions } from '../runtime/conditions.ts';
import type { Events } from '../runtime/events.ts';
import { isDeleting, keyOf } from '../runtime/object-key.ts';
import { writeStatus } from '../runtime/write.ts';
import type { PlacementContext } from './filter.ts';
import type { Ledger } from './ledger.ts';
import type { Claim } from './node-state.ts';
import { planPreemption } from './preemption.ts';

/** How many displaced names are remembered for those that come after them. */
const MAX_REMEMBERED = 1000;

export interface DisplaceDeps {
  readonly containers: KindClient<Container>;
  readonly cache: Pick<Cache<Container>, 'get'>;
  readonly context: PlacementContext;
  readonly ledger: Ledger;
  readonly budgets: Pick<Cache<DisruptionBudget>, 'list'>;
  readonly events: Events;
  readonly clock: Clock;
  /** By whom the last Container of a key was displaced, in words; dropped when its successor is bound. */
  readonly displaced: Map<string, string>;
}

/** Says what is done for `container`; undefined when nothing can be. The place is its own from then on. */
export async function displace(
  deps: DisplaceDeps,
  container: Container,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { ledger, context } = deps;
  const key = keyOf(container);
  const plan = planPreemption(container, ledger.nodes(), {
    context,
    nomination: ledger.nomination(key),
    beyondBudgets: (claims) => claimsBeyondBudgets(deps, claims),
  });
  if (!plan) {
    ledger.withdraw(key);
    return undefined;
  }
  const { nodeName, victims } = plan;
  ledger.nominate(container, nodeName);
  // All at once, before the first write: whoever is looked at meanwhile sees them go.
  for (const victim of victims) ledger.setLeaving(victim, true);
  const results = await Promise.allSettled(victims.map((victim) => remove(deps, { victim, container }, signal)));
  for (const [index, result] of results.entries()) {
    if (result.status === 'rejected') ledger.setLeaving(victims[index] as Claim, false);
  }
  const failure = results.find((result) => result.status === 'rejected');
  if (failure) throw failure.reason;
  return `waits for room on node ${nodeName}, which less important containers leave`;
}

function claimsBeyondBudgets(
  { budgets, cache }: Pick<DisplaceDeps, 'budgets' | 'cache'>,
  claims: readonly Claim[],
): ReadonlySet<Claim> {
  const all = budgets.list();
  if (all.length === 0) return new Set();
  const claimOf = new Map(
    claims.flatMap((claim) => {
      const container = cache.get(claim.key);
      return container ? [[container, claim] as const] : [];
    }),
  );
  return new Set([...beyondBudgets([...claimOf.keys()], all)].map((container) => claimOf.get(container) as Claim));
}

async function remove(
  deps: DisplaceDeps,
  { victim, container }: { victim: Claim; container: Container },
  signal: AbortSignal,
): Promise<void> {
  const { containers, clock } = deps;
  const loser = deps.cache.get(victim.key);
  if (loser?.metadata.uid !== victim.uid || isDeleting(loser)) return;
  const by = `container ${keyOf(container)} of priority ${container.spec.priority}`;
  const message = `displaced from node ${victim.nodeName} by ${by}`;
  const conditions = setConditions(
    loser.status?.conditions,
    [{ type: 'DisruptionTarget', status: 'True', reason: 'PreemptionByScheduler', message }],
    { now: clock.now(), generation: loser.metadata.generation },
  );
  const { name, namespace, uid = '' } = loser.metadata;
  try {
    await writeStatus(containers, loser, { conditions }, signal);
    await containers.delete(name, namespace, { uid }, signal);
  } catch (error) {
    if (isNotFound(error)) return;
    throw error;
  }
  deps.events.record(loser, { type: 'Warning', reason: 'Preempted', message });
  remember(deps.displaced, victim.key, `the one before it was displaced by ${by}`);
}

function remember(displaced: Map<string, string>, key: string, words: string): void {
  displaced.set(key, words);
  const oldest = displaced.keys().next().value;
  if (displaced.size > MAX_REMEMBERED && oldest !== undefined) displaced.delete(oldest);
}
