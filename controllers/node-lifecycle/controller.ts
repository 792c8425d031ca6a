// Watched: Nodes; their Leases, once they come back; Containers on nodes that are silent, gone or drained; what may
// let those go: disruption budgets.
import { runAll, type RunPart } from '../../lib/run-all.ts';
import { createIndex } from '../runtime/cache.ts';
import { createController, watch } from '../runtime/controller.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { evictingTaints } from './drain-plan.ts';
import { createHeartbeats } from './heartbeats.ts';
import { createNodeReconciler } from './reconcile.ts';

/** A budget changes with each eviction; those that wait for it are asked to go once for many changes. */
const BUDGET_DELAY_MS = 1_000;

/** The part that notices dead nodes, and empties those that are drained. */
export function createNodeLifecycle(
  deps: ControllerDeps,
  times: { minGraceMs: number; evictionDelayMs: number },
): RunPart {
  const { nodes, nodeLeases, containers, budgets } = deps.caches;
  const heartbeats = createHeartbeats({
    client: deps.client,
    leases: nodeLeases,
    nodes,
    clock: deps.clock,
    minGraceMs: times.minGraceMs,
  });
  const isWell = (name: string): boolean =>
    nodes.get(name)?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
  const isKept = (name: string): boolean => {
    const node = nodes.get(name);
    return node !== undefined && evictingTaints(node).length === 0;
  };
  const controller = createController(deps, {
    name: 'node-lifecycle',
    reconcile: createNodeReconciler({
      client: deps.client,
      nodes,
      containersOn: createIndex(containers, ({ spec }) => (spec.nodeName ? [spec.nodeName] : [])),
      heartbeats,
      events: deps.events,
      clock: deps.clock,
      evictionDelayMs: times.evictionDelayMs,
    }),
    watches: [
      watch(nodes, ({ metadata }) => [metadata.name]),
      watch(nodeLeases, ({ metadata }) => (isWell(metadata.name) ? [] : [metadata.name])),
      watch(containers, ({ spec: { nodeName } }) =>
        nodeName && !(isWell(nodeName) && isKept(nodeName)) ? [nodeName] : [],
      ),
      watch(budgets, () => nodes.list().flatMap(({ metadata: { name } }) => (isKept(name) ? [] : [name])), {
        delayMs: BUDGET_DELAY_MS,
      }),
    ],
  });
  return { name: 'node-lifecycle', run: (signal) => runAll([controller, heartbeats], signal) };
}
