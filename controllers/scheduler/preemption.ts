// Whom a Container that fits nowhere may displace: the fewest and least important on one node. What is not less
// important is never displaced, and nothing that stands alone: only what a Service makes again somewhere else.
import type { Container } from '../../crds/container.ts';
import type { PlacementContext } from './filter.ts';
import { addClaim, copyNode, removeClaim, type Claim, type NodeState } from './node-state.ts';
import { firstMisfit } from './plan.ts';

export interface Preemption {
  readonly nodeName: string;
  /** Empty when those that are leaving already make enough room. */
  readonly victims: readonly Claim[];
}

/**
 * The node on which `container` fits once less important Containers are gone, and which of them have to go. `nomination`
 * is the node chosen before: as long as enough is leaving there, nobody else is displaced.
 */
export function planPreemption(
  container: Container,
  nodes: readonly NodeState[],
  { context, nomination }: { context: PlacementContext; nomination: string | undefined },
): Preemption | undefined {
  const { priority } = container.spec;
  let best: Preemption | undefined;
  for (const state of nodes) {
    if (!hasLess(state, priority)) continue;
    const victims = victimsOn(container, state, context);
    if (!victims) continue;
    const plan = { nodeName: state.name, victims };
    if (victims.length === 0 && (nomination === undefined || nomination === state.name)) return plan;
    if (best === undefined || isCheaper(victims, best.victims)) best = plan;
  }
  return best;
}

// Most clusters know one priority only: then this is all that is asked of a node.
function hasLess({ priorities }: NodeState, priority: number): boolean {
  for (const other of priorities.keys()) if (other < priority) return true;
  return false;
}

// All that could go goes; if that helps, each comes back that can, the most important first.
function victimsOn(container: Container, state: NodeState, context: PlacementContext): readonly Claim[] | undefined {
  const { priority } = container.spec;
  const trial = copyNode(state);
  const candidates: Claim[] = [];
  for (const claim of state.claims.values()) {
    if (claim.priority >= priority) continue;
    if (claim.isLeaving) removeClaim(trial, claim);
    else if (claim.owner !== '') candidates.push(claim);
  }
  if (!firstMisfit(container, trial, context)) return [];
  for (const claim of candidates) removeClaim(trial, claim);
  if (firstMisfit(container, trial, context)) return undefined;
  const victims: Claim[] = [];
  for (const claim of candidates.toSorted((a, b) => b.priority - a.priority || a.key.localeCompare(b.key))) {
    addClaim(trial, claim);
    if (!firstMisfit(container, trial, context)) continue;
    removeClaim(trial, claim);
    victims.push(claim);
  }
  return victims;
}

function isCheaper(a: readonly Claim[], b: readonly Claim[]): boolean {
  const highest = (victims: readonly Claim[]): number => Math.max(...victims.map(({ priority }) => priority));
  return highest(a) < highest(b) || (highest(a) === highest(b) && a.length < b.length);
}
