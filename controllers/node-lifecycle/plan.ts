// What becomes of a node, and of what runs on it, when its agent falls silent.
import type { Node, NodeCondition, Taint } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { controllerOf, hasFinalizer, isDeleting, NODE_FINALIZER } from '../runtime/object-key.ts';
import { tolerates } from '../scheduler/filters/taints.ts';
import { slotOf } from '../service/slots.ts';

export const UNREACHABLE = 'node.kubernetes.io/unreachable';
export const NOT_READY = 'node.kubernetes.io/not-ready';
export const DISK_PRESSURE = 'node.kubernetes.io/disk-pressure';

export interface NodeObserved {
  readonly node: Node;
  /** When this process last saw the node's lease change, by its own clock: the node's clock may be off. */
  readonly renewalSeenAt: number;
  readonly graceMs: number;
  readonly now: number;
}

export interface NodePlan {
  readonly isSilent: boolean;
  /** Set when the list has to change. */
  readonly taints?: readonly Taint[];
  readonly conditions?: readonly NodeCondition[];
  readonly requeueAfterMs: number;
}

/** Taints follow the Ready and DiskPressure conditions; a silent node's condition is written here, because nobody else can. */
export function planNode({ node, renewalSeenAt, graceMs, now }: NodeObserved): NodePlan {
  const isSilent = now - renewalSeenAt >= graceMs;
  const ready = node.status?.conditions?.find(({ type }) => type === 'Ready');
  const conditions = isSilent && ready?.status !== 'Unknown' ? silentConditions(node, graceMs, now) : undefined;
  const status = isSilent ? 'Unknown' : ready?.status;
  const key = status === 'Unknown' ? UNREACHABLE : status === 'True' ? undefined : NOT_READY;
  const disk = node.status?.conditions?.find(({ type }) => type === 'DiskPressure');
  const taints = wantedTaints(node.spec?.taints ?? [], key, isSilent ? undefined : disk?.status, now);
  return {
    isSilent,
    ...(conditions ? { conditions } : {}),
    ...(taints ? { taints } : {}),
    requeueAfterMs: isSilent ? graceMs : renewalSeenAt + graceMs - now,
  };
}

function silentConditions(node: Node, graceMs: number, now: number): NodeCondition[] {
  const old = node.status?.conditions ?? [];
  const types = new Set(['Ready', ...old.map(({ type }) => type)]);
  return [...types].map((type) => {
    const before = old.find((condition) => condition.type === type);
    return {
      ...before,
      type,
      status: 'Unknown',
      reason: 'NodeStatusUnknown',
      message: `the node agent has not renewed its lease for ${Math.round(graceMs / 1000)} s`,
      lastTransitionTime: before?.status === 'Unknown' ? (before.lastTransitionTime ?? rfc3339(now)) : rfc3339(now),
    };
  });
}

/**
 * With the node's own key both effects: nothing new comes, and what is there has to go in time. A nearly full disk only
 * keeps others away. Undefined when nothing changes.
 */
function wantedTaints(
  current: readonly Taint[],
  key: string | undefined,
  diskPressure: string | undefined,
  now: number,
): Taint[] | undefined {
  const isGone = (taint: Taint): boolean =>
    ((taint.key === UNREACHABLE || taint.key === NOT_READY) && taint.key !== key) ||
    // Of a node that cannot be asked it stays as it was.
    (taint.key === DISK_PRESSURE && diskPressure === 'False');
  const kept = current.filter((taint) => !isGone(taint));
  const wanted = [
    ...(key === undefined ? [] : (['NoSchedule', 'NoExecute'] as const).map((effect) => ({ key, effect }))),
    ...(diskPressure === 'True' ? [{ key: DISK_PRESSURE, effect: 'NoSchedule' as const }] : []),
  ];
  const missing = wanted.filter(
    (one) => !kept.some(({ key: has, effect }) => has === one.key && effect === one.effect),
  );
  if (missing.length === 0 && kept.length === current.length) return undefined;
  return [...kept, ...missing.map((taint) => ({ ...taint, timeAdded: rfc3339(now) }))];
}

export interface EvictionObserved {
  /** The dead node; absent when its object is gone. */
  readonly node: Node | undefined;
  readonly containers: readonly Container[];
  /** Time from the taint to the eviction, unless a toleration says otherwise. */
  readonly evictionDelayMs: number;
  readonly isSuspended: boolean;
  /** When its lease ran out, by the clock of this process. */
  readonly silentSinceMs: number;
  /** The delay counts from this time at the soonest; 0 = from when it was tainted. */
  readonly countsFromMs: number;
  readonly now: number;
}

export interface EvictionPlan {
  /** Their status becomes Unknown. */
  readonly markUnknown: readonly Container[];
  /** Finalizer off and deleted: their owner makes them anew elsewhere. */
  readonly release: readonly Container[];
  readonly requeueAfterMs?: number;
}

/**
 * A Container that a Service controls is released, because it comes back elsewhere. One that stands alone keeps its
 * object: it is on that node and nowhere else, and runs on when the node returns. One that is being deleted is let go.
 */
export function planEviction(observed: EvictionObserved): EvictionPlan {
  const { node, containers, evictionDelayMs, isSuspended, silentSinceMs, countsFromMs, now } = observed;
  const release: Container[] = [];
  const waits: number[] = [];
  const taint = node?.spec?.taints?.find(({ key, effect }) => key === UNREACHABLE && effect === 'NoExecute');
  const timeAdded = Date.parse(taint?.timeAdded ?? '');
  // Another leader may have tainted it, by a clock that is ahead of this one.
  const taintedAt = Math.max(timeAdded > now ? silentSinceMs : timeAdded, countsFromMs);
  // Bound by hand to a node that never was: that one may still join.
  const affected =
    node === undefined
      ? containers.filter((container) => isDeleting(container) || container.status?.nodeName)
      : containers;
  for (const container of affected) {
    const isReleasable =
      controllerOf(container) !== undefined || (isDeleting(container) && hasFinalizer(container, NODE_FINALIZER));
    if (isSuspended || !isReleasable) continue;
    const delayMs =
      node === undefined ? 0 : isLeftover(container) ? evictionDelayMs : tolerationMs(container, evictionDelayMs);
    const waitMs = (Number.isNaN(taintedAt) ? now : taintedAt) + delayMs - now;
    if (waitMs <= 0) release.push(container);
    else if (Number.isFinite(waitMs)) waits.push(waitMs);
  }
  return {
    markUnknown: affected.filter(
      (container) => container.status?.phase !== 'Unknown' && !release.includes(container) && !isOver(container),
    ),
    release,
    ...(waits.length > 0 ? { requeueAfterMs: Math.min(...waits) } : {}),
  };
}

// Nothing is unknown about a container that had ended before its node did.
const isOver = ({ status }: Container): boolean => status?.phase === 'Succeeded' || status?.phase === 'Failed';

// Of a Global Service, and being deleted: it tolerates its node's silence for ever, but its successor can only be on that
// node, where the agent stops this one first.
const isLeftover = (container: Container): boolean =>
  isDeleting(container) && controllerOf(container)?.kind === 'Service' && slotOf(container) === undefined;

function tolerationMs(container: Container, evictionDelayMs: number): number {
  const matching = (container.spec.tolerations ?? []).filter((toleration) =>
    tolerates(toleration, { key: UNREACHABLE, effect: 'NoExecute' }),
  );
  if (matching.length === 0) return evictionDelayMs;
  return Math.min(...matching.map(({ tolerationSeconds }) => (tolerationSeconds ?? Number.POSITIVE_INFINITY) * 1000));
}

/** When most nodes fall silent at once, the observer is the suspect. A node that is alone has nowhere to go. */
export const isEvictionSuspended = (silentNodes: number, allNodes: number): boolean =>
  allNodes <= 1 || silentNodes * 2 > allNodes;
