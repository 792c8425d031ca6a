// Watched: Namespaces; Containers, the slowest to go, so that the last one is noticed at once.
import type { RunPart } from '../../lib/run-all.ts';
import { createController, watch } from '../runtime/controller.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { isDeleting } from '../runtime/object-key.ts';
import { createNamespaceReconciler } from './reconcile.ts';

/** The part that empties namespaces. */
export function createNamespaceController(deps: ControllerDeps): RunPart {
  const { namespaces, containers } = deps.caches;
  return createController(deps, {
    name: 'namespace',
    workers: 2,
    reconcile: createNamespaceReconciler({ client: deps.client, namespaces, clock: deps.clock }),
    watches: [
      watch(namespaces, ({ metadata }) => [metadata.name]),
      watch(
        containers,
        ({ metadata }, deleted) => {
          const namespace = metadata.namespace ?? '';
          const home = namespaces.get(namespace);
          return deleted && home && isDeleting(home) ? [namespace] : [];
        },
        { delayMs: 50 },
      ),
    ],
  });
}
