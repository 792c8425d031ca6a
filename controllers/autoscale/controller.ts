// Watched: Services; each that is autoscaled is looked at again after a while, as the use of CPU is no object.
import type { RunPart } from '../../lib/run-all.ts';
import { createIndex } from '../runtime/cache.ts';
import { createController, watch } from '../runtime/controller.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { controllerOf, keyOf } from '../runtime/object-key.ts';
import { createAutoscaleReconciler } from './reconcile.ts';

export interface AutoscaleOptions {
  /** Time from one look to the next. */
  readonly syncMs: number;
  /** How long the most replicas that were asked for stay. */
  readonly downWindowMs: number;
}

/** The part that scales Services by their load. */
export function createAutoscaler(deps: ControllerDeps, options: AutoscaleOptions): RunPart {
  const { services, containers } = deps.caches;
  const { reconcile, forget } = createAutoscaleReconciler({
    ...options,
    client: deps.client,
    services,
    childrenOf: createIndex(containers, (container) => {
      const owner = controllerOf(container);
      return owner?.kind === 'Service' ? [owner.uid] : [];
    }),
    events: deps.events,
    clock: deps.clock,
  });
  services.subscribe(({ object, deleted }) => {
    if (deleted) forget(object.metadata.uid ?? '');
  });
  return createController(deps, {
    name: 'autoscale',
    reconcile,
    maxBackoffMs: options.syncMs,
    watches: [
      watch(services, (service) => (service.spec.autoscale || service.status?.autoscale ? [keyOf(service)] : [])),
    ],
  });
}
