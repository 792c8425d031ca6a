// Watched: Nodes (one joined or came back), Services (a move arrived, or another is possible now), disruption budgets.
import type { RunPart } from '../../lib/run-all.ts';
import { usesMeaning } from '../image/plan.ts';
import { createIndex } from '../runtime/cache.ts';
import { createController, watch } from '../runtime/controller.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { controllerOf } from '../runtime/object-key.ts';
import { createRebalanceReconciler } from './reconcile.ts';

/** A look walks over all Containers; what happens within this time is one look. */
const DELAY_MS = 1000;
const KEY = 'spread';

export interface RebalancerOptions {
  readonly mode: 'dry-run' | 'on';
  readonly maxMoves: number;
  readonly settleMs: number;
}

/** The part that evens out Services after a node joined or came back. */
export function createRebalancer(deps: ControllerDeps, options: RebalancerOptions): RunPart {
  const { containers, services, nodes, volumes, networks, images, budgets } = deps.caches;
  const children = createIndex(containers, (container) => {
    const uid = controllerOf(container)?.uid;
    return uid === undefined ? [] : [uid];
  });
  return createController(deps, {
    name: 'rebalancer',
    workers: 1,
    reconcile: createRebalanceReconciler({
      ...options,
      client: deps.client,
      budgets,
      services,
      containers,
      nodes,
      volumes,
      networks,
      imagesByUse: createIndex(images, usesMeaning),
      childrenOf: ({ metadata }) => children.get(metadata.uid ?? ''),
      events: deps.events,
      clock: deps.clock,
    }),
    watches: [
      watch(nodes, () => [KEY], { delayMs: DELAY_MS }),
      watch(services, () => [KEY], { delayMs: DELAY_MS }),
      watch(budgets, () => [KEY], { delayMs: DELAY_MS }),
    ],
  });
}
