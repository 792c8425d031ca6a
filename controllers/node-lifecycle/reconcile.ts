// Marks a node that fell silent, and lets go of what ran on it, so that it can run elsewhere.
import type { ApiClient } from '../../client/client.ts';
import { nodeKind, type Node } from '../../crds/builtin.ts';
import { containerKind, type Container } from '../../crds/container.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Cache, Index } from '../runtime/cache.ts';
import { setConditions } from '../runtime/conditions.ts';
import type { Events } from '../runtime/events.ts';
import { forEachLimit } from '../runtime/fan-out.ts';
import { isDeleting, NODE_FINALIZER } from '../runtime/object-key.ts';
import type { Reconcile } from '../runtime/reconciler.ts';
import { removeFinalizer, writeStatus } from '../runtime/write.ts';
import { drainNode } from './drain.ts';
import type { Heartbeats } from './heartbeats.ts';
import { isEvictionSuspended, planEviction, planNode } from './plan.ts';

const PARALLEL_WRITES = 16;
/** Leases are renewed four times in their duration: after this share of it at least one renewal is missing. */
const LATE_SHARE = 0.5;
const SUSPENDED_LOOK_MS = 1_000;

export interface NodeLifecycleDeps {
  readonly client: ApiClient;
  readonly nodes: Cache<Node>;
  /** Containers by the node they are bound to. */
  readonly containersOn: Index<Container>;
  readonly heartbeats: Pick<Heartbeats, 'seenAt' | 'graceMsOf' | 'refresh'>;
  /** Time from then to the release of its Containers. */
  readonly evictionDelayMs: number;
  readonly events: Events;
  readonly clock: Clock;
}

/** Looks at one node, or at what is left of one. */
export function createNodeReconciler(deps: NodeLifecycleDeps): Reconcile {
  const { clock, events, heartbeats, evictionDelayMs } = deps;
  const nodes = deps.client.kind<Node>(nodeKind);
  const containers = deps.client.kind(containerKind);

  /** When the node's lease ran out, or will. */
  const silentSince = (name: string): number => heartbeats.seenAt(name) + heartbeats.graceMsOf(name);
  const isSilent = (name: string): boolean => silentSince(name) <= clock.now();

  let wasSuspended = false;
  let mostLateUntilMs = 0;
  let mostSilentUntilMs = Number.NEGATIVE_INFINITY;
  /**
   * When most nodes were late, the first to be heard again says nothing about the rest: their delay begins then. When most
   * were silent, each is given the time of its lease to follow before that, as if it had been heard last while nobody was.
   */
  const countsFrom = (name: string): number =>
    Math.max(mostLateUntilMs, mostSilentUntilMs + heartbeats.graceMsOf(name));
  // Leases of nodes that die together run out one after the other, a renewal apart at most.
  const isLate = (name: string): boolean =>
    clock.now() - heartbeats.seenAt(name) >= heartbeats.graceMsOf(name) * LATE_SHARE;

  async function markNode(
    node: Node,
    signal: AbortSignal,
  ): Promise<{ isSilent: boolean; requeueAfterMs: number; node: Node }> {
    const { name } = node.metadata;
    const graceMs = heartbeats.graceMsOf(name);
    const plan = planNode({ node, renewalSeenAt: heartbeats.seenAt(name), graceMs, now: clock.now() });
    if (plan.conditions) {
      await writeStatus(nodes, node, { conditions: plan.conditions }, signal);
      events.record(node, {
        type: 'Warning',
        reason: 'NodeNotReady',
        message: `node ${name} is silent: no heartbeat for ${graceMs / 1000} s`,
      });
    }
    const current = plan.conditions ? ((await nodes.get(name, undefined, signal)) ?? node) : node;
    if (!plan.taints) return { ...plan, node: current };
    const { resourceVersion } = current.metadata;
    const tainted = await nodes.mergePatch(
      name,
      undefined,
      { metadata: { resourceVersion }, spec: { taints: plan.taints } },
      {},
      signal,
    );
    return { ...plan, node: tainted };
  }

  async function markUnknown(container: Container, nodeName: string, signal: AbortSignal): Promise<void> {
    const reason = 'NodeUnreachable';
    const message = `node ${nodeName} does not answer: nothing is known of the container`;
    const status = {
      phase: 'Unknown',
      reason,
      message,
      conditions: setConditions(container.status?.conditions, [{ type: 'Ready', status: 'Unknown', reason, message }], {
        now: clock.now(),
        generation: container.metadata.generation,
      }),
    };
    if (await writeStatus(containers, container, status, signal)) {
      events.record(container, { type: 'Warning', reason, message });
    }
  }

  async function release(container: Container, nodeName: string, signal: AbortSignal): Promise<void> {
    const { name, namespace, uid } = container.metadata;
    await removeFinalizer(containers, container, NODE_FINALIZER, signal);
    if (!isDeleting(container)) {
      await containers.delete(name, namespace, { ...(uid ? { uid } : {}), propagationPolicy: 'Background' }, signal);
    }
    events.record(container, { type: 'Warning', reason: 'Evicted', message: `released from dead node ${nodeName}` });
  }

  return async (nodeName, { signal, log }) => {
    const cached = deps.nodes.get(nodeName);
    if (cached && isSilent(nodeName)) await heartbeats.refresh(nodeName, signal);
    const marked = cached ? await markNode(cached, signal) : undefined;
    if (marked && !marked.isSilent) {
      const observed = { node: marked.node, containers: deps.containersOn.get(nodeName) };
      const { requeueAfterMs = Number.POSITIVE_INFINITY } = await drainNode(deps, observed, signal);
      return { requeueAfterMs: Math.max(1, Math.min(marked.requeueAfterMs, requeueAfterMs)) };
    }
    // A node that the cache does not show may have joined just now.
    if (!marked && (await nodes.get(nodeName, undefined, signal))) return { requeueAfterMs: 1_000 };

    const all = deps.nodes.list().map(({ metadata }) => metadata.name);
    const isSuspended = marked !== undefined && isEvictionSuspended(all.filter(isLate).length, all.length);
    if (isSuspended) mostLateUntilMs = clock.now();
    if (isSuspended && isEvictionSuspended(all.filter(isSilent).length, all.length)) mostSilentUntilMs = clock.now();
    const plan = planEviction({
      node: marked?.node,
      containers: deps.containersOn.get(nodeName),
      evictionDelayMs,
      isSuspended,
      silentSinceMs: cached ? silentSince(nodeName) : clock.now(),
      countsFromMs: marked ? countsFrom(nodeName) : 0,
      now: clock.now(),
    });
    if (isSuspended && all.length > 1 && !wasSuspended) log.warn('most nodes are silent at once: nothing is evicted');
    wasSuspended = isSuspended;
    await forEachLimit(plan.markUnknown, PARALLEL_WRITES, (container) => markUnknown(container, nodeName, signal));
    await forEachLimit(plan.release, PARALLEL_WRITES, (container) => release(container, nodeName, signal));
    const suspendedMs = isSuspended && all.length > 1 ? SUSPENDED_LOOK_MS : undefined;
    const waits = [plan.requeueAfterMs, marked?.requeueAfterMs, suspendedMs].filter((wait) => wait !== undefined);
    return waits.length === 0 ? {} : { requeueAfterMs: Math.max(1, Math.min(...waits)) };
  };
}
