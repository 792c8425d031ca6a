// Evicts what a NoExecute taint sends away from a node that is alive, as fast as disruption budgets allow.
import type { ApiClient } from '../../client/client.ts';
import { nodeKind, type Node } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import type { Clock } from '../../lib/clock.ts';
import { isEvictionRefused, refusalOf } from '../disruption/refusal.ts';
import type { Events } from '../runtime/events.ts';
import { forEachLimit } from '../runtime/fan-out.ts';
import { keyOf } from '../runtime/object-key.ts';
import { writeStatus } from '../runtime/write.ts';
import { drainConditions, planDrain, stampTaints } from './drain-plan.ts';

const PARALLEL_EVICTIONS = 16;
/** When what a budget kept is asked to go again, as `kubectl drain` does. */
const RETRY_MS = 5_000;

export interface DrainDeps {
  readonly client: ApiClient;
  readonly events: Events;
  readonly clock: Clock;
}

/** One round; answers when the next is due. */
export async function drainNode(
  { client, events, clock }: DrainDeps,
  { node, containers }: { node: Node; containers: readonly Container[] },
  signal: AbortSignal,
): Promise<{ requeueAfterMs?: number }> {
  const nodes = client.kind<Node>(nodeKind);
  const { name, resourceVersion } = node.metadata;
  const stamped = stampTaints(node.spec?.taints ?? [], clock.now());
  if (stamped) {
    // The write brings the node back here, with the times on it.
    await nodes.mergePatch(name, undefined, { metadata: { resourceVersion }, spec: { taints: stamped } }, {}, signal);
    return {};
  }
  const plan = planDrain({ node, containers, now: clock.now() });
  const blocked = new Map<string, string>();
  await forEachLimit(plan.evict, PARALLEL_EVICTIONS, async (container) => {
    const { name: containerName, namespace = '', uid = '' } = container.metadata;
    try {
      await client.evict(containerName, namespace, { uid }, signal);
      const message = `evicted from node ${name}, which has a taint of effect NoExecute`;
      events.record(container, { type: 'Normal', reason: 'TaintEviction', message });
    } catch (error) {
      if (!isEvictionRefused(error)) throw error;
      blocked.set(keyOf(container), refusalOf(error));
    }
  });
  const conditions = drainConditions({ node, containers, now: clock.now() }, blocked);
  if (conditions) await writeStatus(nodes, node, { conditions }, signal);
  const waits = [plan.requeueAfterMs, blocked.size > 0 ? RETRY_MS : undefined].filter((wait) => wait !== undefined);
  return waits.length === 0 ? {} : { requeueAfterMs: Math.min(...waits) };
}
