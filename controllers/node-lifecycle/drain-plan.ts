// What has to leave a node that is alive: a taint of effect NoExecute sends away what does not tolerate it. The taint
// windlass.dev/drain is Docker's availability Drain, and its progress is told in the node's condition Drained.
import { DRAIN_TAINT, type Node, type NodeCondition, type Taint } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { controllerOf, isDeleting, keyOf } from '../runtime/object-key.ts';
import { tolerates } from '../scheduler/filters/taints.ts';
import { slotOf } from '../service/slots.ts';
import { NOT_READY, UNREACHABLE } from './plan.ts';

const DRAINED = 'Drained';
/** How many are named in a message. */
const MAX_NAMED = 3;

export interface DrainObserved {
  readonly node: Node;
  readonly containers: readonly Container[];
  readonly now: number;
}

export interface DrainPlan {
  /** To be evicted now, as far as disruption budgets let them go. */
  readonly evict: readonly Container[];
  /** Those whose toleration does not last hold until then. */
  readonly requeueAfterMs?: number;
}

/** What a node's agent cannot be reached for is not asked to go: node-lifecycle has other means for that. */
export const evictingTaints = (node: Node): Taint[] =>
  (node.spec?.taints ?? []).filter(
    ({ key, effect }) => effect === 'NoExecute' && key !== UNREACHABLE && key !== NOT_READY,
  );

/**
 * Only what a Service makes again somewhere else: a Container that stands alone stays, as with Docker.
 */
export function planDrain({ node, containers, now }: DrainObserved): DrainPlan {
  const taints = evictingTaints(node);
  const evict: Container[] = [];
  const waits: number[] = [];
  for (const container of taints.length === 0 ? [] : containers) {
    if (isDeleting(container) || !isMovable(container)) continue;
    const waitMs = Math.min(...taints.map((taint) => toleratedUntil(container, taint, now) - now));
    if (waitMs <= 0) evict.push(container);
    else if (Number.isFinite(waitMs)) waits.push(waitMs);
  }
  return { evict, ...(waits.length > 0 ? { requeueAfterMs: Math.min(...waits) } : {}) };
}

// What is over holds nothing: its Service keeps it for its exit code and logs, or replaces it anyway.
const isOver = ({ status }: Container): boolean => status?.phase === 'Succeeded' || status?.phase === 'Failed';

const isOfService = (container: Container): boolean => controllerOf(container) !== undefined && !isOver(container);

/** A Global Service has one for each node, and takes it away itself where it is not wanted. */
const isMovable = (container: Container): boolean => isOfService(container) && slotOf(container) !== undefined;

function toleratedUntil({ spec }: Container, taint: Taint, now: number): number {
  const matching = (spec.tolerations ?? []).filter((toleration) => tolerates(toleration, taint));
  if (matching.length === 0) return now;
  const addedAt = Date.parse(taint.timeAdded ?? '');
  const seconds = Math.min(...matching.map(({ tolerationSeconds }) => tolerationSeconds ?? Number.POSITIVE_INFINITY));
  return (Number.isNaN(addedAt) ? now : addedAt) + seconds * 1000;
}

/** The taints with the time on those that tolerations may count from; undefined when they all have it. */
export function stampTaints(taints: readonly Taint[], now: number): Taint[] | undefined {
  if (taints.every(({ effect, timeAdded }) => effect !== 'NoExecute' || timeAdded)) return undefined;
  return taints.map((taint) =>
    taint.effect === 'NoExecute' && !taint.timeAdded ? { ...taint, timeAdded: rfc3339(now) } : taint,
  );
}

/**
 * The node's conditions with Drained as it is now, and without it on a node that is not drained; undefined when they are so
 * already. `blocked` says of a Container why its budget keeps it.
 */
export function drainConditions(
  { node, containers, now }: DrainObserved,
  blocked: ReadonlyMap<string, string>,
): NodeCondition[] | undefined {
  const conditions = node.status?.conditions ?? [];
  const others = conditions.filter(({ type }) => type !== DRAINED);
  const before = conditions.find(({ type }) => type === DRAINED);
  const taint = node.spec?.taints?.find(({ key, effect }) => key === DRAIN_TAINT && effect === 'NoExecute');
  if (!taint) return before ? others : undefined;
  const leaving = containers.filter(
    (container) => isOfService(container) && toleratedUntil(container, taint, now) !== Number.POSITIVE_INFINITY,
  );
  const standing = containers.filter((container) => controllerOf(container) === undefined && !isOver(container));
  const next = describe(leaving, { blocked, standing: standing.length });
  if (before?.status === next.status && before.reason === next.reason && before.message === next.message)
    return undefined;
  const lastTransitionTime = before?.status === next.status ? before.lastTransitionTime : undefined;
  return [...others, { type: DRAINED, ...next, lastTransitionTime: lastTransitionTime ?? rfc3339(now) }];
}

function describe(
  leaving: readonly Container[],
  { blocked, standing }: { blocked: ReadonlyMap<string, string>; standing: number },
): Pick<NodeCondition, 'status' | 'reason' | 'message'> {
  if (leaving.length === 0) {
    const stay = standing === 0 ? '' : `; ${standing} that stand alone stay`;
    return { status: 'True', reason: DRAINED, message: `no Container of a Service is left that has to go${stay}` };
  }
  const kept = leaving.filter((container) => blocked.has(keyOf(container)));
  const count = `${leaving.length} container(s) left`;
  if (kept.length === 0) return { status: 'False', reason: 'Draining', message: count };
  const named = kept.slice(0, MAX_NAMED).map((container) => `${keyOf(container)}: ${blocked.get(keyOf(container))}`);
  return {
    status: 'False',
    reason: 'DisruptionBudget',
    message: `${count}, ${kept.length} of them kept by a disruption budget (${named.join('; ')})`,
  };
}
