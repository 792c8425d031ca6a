// Which replicas to move so that their Services are spread better. A move deletes one replica; its Service makes it
// again and the scheduler places it. Each move makes the spread strictly better, so they come to an end.
import type { Node } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import type { Service } from '../../crds/service.ts';
import { isDeleting, keyOf } from '../runtime/object-key.ts';
import type { PlacementContext } from '../scheduler/filter.ts';
import { copyNode, removeClaim, type NodeState } from '../scheduler/node-state.ts';
import { planPlacement } from '../scheduler/plan.ts';
import { isLess } from '../scheduler/score.ts';
import { labelSpread } from '../scheduler/scores/label-spread.ts';
import { nodeSpread } from '../scheduler/scores/node-spread.ts';
import { isReady } from '../service/slots.ts';

export interface RebalanceObserved {
  readonly services: readonly Service[];
  readonly nodes: readonly NodeState[];
  readonly context: PlacementContext;
  readonly childrenOf: (service: Service) => readonly Container[];
  /** Keys of Containers to which others are tied: they share namespaces or volumes, and would have to move as well. */
  readonly tied: ReadonlySet<string>;
  /** Whether the disruption budgets let it go now. */
  readonly mayDisrupt: (container: Container) => boolean;
  /** Key of each Service that was moved lately, and the UID of its Container that had to go. */
  readonly moving: ReadonlyMap<string, string>;
  /** Moves under way at the same time. */
  readonly maxMoves: number;
  /** Since when it is Ready, or not: when the change was seen here, as the node's clock may be anywhere. */
  readonly seenSince: (node: Node) => number;
  /** How long a node has to be Ready before it is moved to: one that comes and goes gets nothing. */
  readonly settleMs: number;
  readonly now: number;
}

export interface Move {
  readonly service: Service;
  readonly container: Container;
  readonly from: string;
  readonly to: string;
}

export interface RebalancePlan {
  readonly moves: readonly Move[];
  /** Keys of Services whose last move is done. */
  readonly arrived: readonly string[];
  /** A node is not Ready for long enough yet. */
  readonly requeueAfterMs?: number;
}

/** At most one replica of a Service at a time, and only of those that have all theirs: a rollout or a failure goes first. */
export function planMoves(observed: RebalanceObserved): RebalancePlan {
  const { services, moving } = observed;
  const isStill = new Map(services.map((service) => [keyOf(service), isSettled(service, observed)]));
  const arrived = [...moving.keys()].filter((key) => isStill.get(key) ?? true);
  let budget = observed.maxMoves - (moving.size - arrived.length);
  const moves: Move[] = [];
  const waits: number[] = [];
  for (const service of services) {
    if (budget <= 0) break;
    if (!isStill.get(keyOf(service))) continue;
    const move = findMove(service, observed);
    if (!move) continue;
    const waitMs = settledInMs(observed.nodes.find(({ name }) => name === move.to)?.node, observed);
    if (waitMs > 0) {
      waits.push(waitMs);
      continue;
    }
    moves.push(move);
    budget -= 1;
  }
  return { moves, arrived, ...(waits.length > 0 ? { requeueAfterMs: Math.min(...waits) } : {}) };
}

function isSettled(service: Service, { childrenOf, moving }: RebalanceObserved): boolean {
  const { spec, status, metadata } = service;
  const children = childrenOf(service);
  return (
    spec.mode === 'Replicated' &&
    !isDeleting(service) &&
    status?.observedGeneration === metadata.generation &&
    status?.updatedReplicas === spec.replicas &&
    children.length === spec.replicas &&
    children.every((child) => isReady(child) && child.metadata.uid !== moving.get(keyOf(service)))
  );
}

// The replicas of a Service are alike, so one per node is tried, those of the fullest nodes first.
function findMove(service: Service, observed: RebalanceObserved): Move | undefined {
  const { nodes, context, childrenOf, tied, mayDisrupt } = observed;
  const byNode = new Map<string, Container[]>();
  for (const child of childrenOf(service)) {
    const name = child.spec.nodeName ?? '';
    const there = byNode.get(name);
    if (there) there.push(child);
    else byNode.set(name, [child]);
  }
  const isByNodeOnly = (service.spec.template.spec.placement?.spread ?? []).length === 0;
  for (const [from, children] of [...byNode].toSorted(([, a], [, b]) => b.length - a.length)) {
    if (isByNodeOnly && children.length < 2) return undefined;
    // The highest slot, as when scaling down.
    const container = children.findLast((child) => !tied.has(keyOf(child)) && mayDisrupt(child));
    const to = container && betterNode(container, { from, nodes, context });
    if (container && to !== undefined) return { service, container, from, to };
  }
  return undefined;
}

/** Where the scheduler would place `container` today, if that is better for the spread than where it is. */
function betterNode(
  container: Container,
  { from, nodes, context }: { from: string; nodes: readonly NodeState[]; context: PlacementContext },
): string | undefined {
  const trial = nodes.map((state) => (state.name === from ? without(state, keyOf(container)) : state));
  const { nodeName: _, ...spec } = container.spec;
  const unbound: Container = { ...container, spec };
  const placement = planPlacement(unbound, trial, context);
  const home = trial.find(({ name }) => name === from);
  if (placement.kind !== 'bind' || !home) return undefined;
  const target = trial.find(({ name }) => name === placement.nodeName);
  const scores = [labelSpread, nodeSpread].map((score) => score(unbound, { all: trial, context }));
  const scoreOf = (state: NodeState): number[] => scores.flatMap((score) => score(state));
  return target && isLess(scoreOf(target), scoreOf(home)) ? target.name : undefined;
}

function without(state: NodeState, key: string): NodeState {
  const copy = copyNode(state);
  const claim = copy.claims.get(key);
  if (claim) removeClaim(copy, claim);
  return copy;
}

function settledInMs(node: Node | undefined, { now, settleMs, seenSince }: RebalanceObserved): number {
  const isKnown = node?.status?.conditions?.some(({ type }) => type === 'Ready') === true;
  return isKnown ? seenSince(node) + settleMs - now : 0;
}
