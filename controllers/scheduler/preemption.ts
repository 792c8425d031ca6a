// Whom a Container that fits nowhere may displace: the fewest and least important on one node, and those that no
// disruption budget keeps before any that one does. What is not less important is never displaced, and nothing that
// stands alone: only what a Service makes again somewhere else.
import type { Container } from '../../crds/container.ts';
import type { PlacementContext } from './filter.ts';
import { addClaim, copyNode, removeClaim, type Claim, type NodeState } from './node-state.ts';
import { firstMisfit } from './plan.ts';
import { isLess } from './score.ts';

export interface Preemption {
  readonly nodeName: string;
  /** Empty when those that are leaving already make enough room. */
  readonly victims: readonly Claim[];
  /** How many of the victims go although a disruption budget would keep them. */
  readonly violations: number;
}

export interface PreemptionContext {
  readonly context: PlacementContext;
  /** The node chosen for the container before. */
  readonly nomination: string | undefined;
  /** Those of `claims` that, gone in this order, take more than a disruption budget allows. */
  readonly beyondBudgets: (claims: readonly Claim[]) => ReadonlySet<Claim>;
}

/**
 * The node on which `container` fits once less important Containers are gone, and which of them have to go. As long as
 * enough is leaving on the nominated node, nobody else is displaced.
 */
export function planPreemption(
  container: Container,
  nodes: readonly NodeState[],
  options: PreemptionContext,
): Preemption | undefined {
  const { nomination } = options;
  const { priority } = container.spec;
  let best: Preemption | undefined;
  for (const state of nodes) {
    if (!hasLess(state, priority)) continue;
    const plan = planOn(container, state, options);
    if (!plan) continue;
    if (plan.victims.length === 0 && (nomination === undefined || nomination === state.name)) return plan;
    if (best === undefined || isCheaper(plan, best)) best = plan;
  }
  return best;
}

// Most clusters know one priority only: then this is all that is asked of a node.
function hasLess({ priorities }: NodeState, priority: number): boolean {
  for (const other of priorities.keys()) if (other < priority) return true;
  return false;
}

// All that could go goes; if that helps, each comes back that can: those that a budget keeps, then the most important.
function planOn(
  container: Container,
  state: NodeState,
  { context, beyondBudgets }: PreemptionContext,
): Preemption | undefined {
  const { priority } = container.spec;
  const trial = copyNode(state);
  const candidates: Claim[] = [];
  for (const claim of state.claims.values()) {
    if (claim.priority >= priority) continue;
    if (claim.isLeaving) removeClaim(trial, claim);
    else if (claim.owner !== '') candidates.push(claim);
  }
  if (!firstMisfit(container, trial, context)) return { nodeName: state.name, victims: [], violations: 0 };
  for (const claim of candidates) removeClaim(trial, claim);
  if (firstMisfit(container, trial, context)) return undefined;
  const sorted = candidates.toSorted((a, b) => b.priority - a.priority || a.key.localeCompare(b.key));
  const kept = beyondBudgets(sorted);
  const victims: Claim[] = [];
  for (const claim of sorted.toSorted((a, b) => Number(kept.has(b)) - Number(kept.has(a)))) {
    addClaim(trial, claim);
    if (!firstMisfit(container, trial, context)) continue;
    removeClaim(trial, claim);
    victims.push(claim);
  }
  return { nodeName: state.name, victims, violations: victims.filter((claim) => kept.has(claim)).length };
}

function isCheaper(a: Preemption, b: Preemption): boolean {
  const cost = ({ victims, violations }: Preemption): number[] => [
    violations,
    Math.max(...victims.map(({ priority }) => priority)),
    victims.length,
  ];
  return isLess(cost(a), cost(b));
}
