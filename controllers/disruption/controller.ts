// Watched: PodDisruptionBudgets; the Containers they select; Services, whose replicas percentages are of.
import { disruptionBudgetKind, isBudgetOf } from '../../crds/disruption-budget.ts';
import type { RunPart } from '../../lib/run-all.ts';
import { createIndex } from '../runtime/cache.ts';
import { createController, watch } from '../runtime/controller.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { controllerOf, isDeleting, keyOf } from '../runtime/object-key.ts';
import { createDisruptionReconciler } from './reconcile.ts';

/** A budget counts all its Containers: what changes within this time is counted once. */
const DELAY_MS = 50;

/** The part that says how many Containers may be evicted. */
export function createDisruptionController(deps: ControllerDeps): RunPart {
  const { budgets, containers, services } = deps.caches;
  const namespaceOf = ({ metadata }: { metadata: { namespace?: string } }): string[] => [metadata.namespace ?? ''];
  const budgetsIn = createIndex(budgets, namespaceOf);
  const containersIn = createIndex(containers, namespaceOf);
  const childrenOf = createIndex(containers, (container) => {
    const uid = controllerOf(container)?.uid;
    return uid === undefined ? [] : [uid];
  });
  const byUid = createIndex(services, ({ metadata }) => [metadata.uid ?? '']);
  return createController(deps, {
    name: 'disruption',
    reconcile: createDisruptionReconciler({
      client: deps.client.kind(disruptionBudgetKind),
      budgets,
      containersIn,
      wantedBy(uid) {
        const [service] = byUid.get(uid);
        if (!service) return undefined;
        // Of the other modes there are as many as there are nodes, or tries, now.
        if (service.spec.mode === 'Replicated') return service.spec.replicas;
        return childrenOf.get(uid).filter((child) => !isDeleting(child)).length;
      },
      events: deps.events,
      clock: deps.clock,
    }),
    watches: [
      watch(budgets, (budget) => [keyOf(budget)]),
      watch(
        containers,
        (container) =>
          budgetsIn
            .get(container.metadata.namespace ?? '')
            .filter((budget) => isBudgetOf(budget, container))
            .map(keyOf),
        { delayMs: DELAY_MS },
      ),
      // The status of a Service changes with each of its Containers.
      watch(services, (service) => budgetsIn.get(service.metadata.namespace ?? '').map(keyOf), { delayMs: DELAY_MS }),
    ],
  });
}
