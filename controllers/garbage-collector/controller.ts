// Watched: every kind there is, by way of the monitor.
import type { KubernetesObject } from '../../crds/kind.ts';
import { runAll, type RunPart } from '../../lib/run-all.ts';
import { createController, type WatchedKind } from '../runtime/controller.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import type { WorkQueue } from '../runtime/workqueue.ts';
import { createGraph } from './graph.ts';
import { createMonitor } from './monitor.ts';
import { createGarbageReconciler } from './reconcile.ts';

/** The part that deletes what nobody owns any more. `shared` are the process' informers by `plural.group`. */
export function createGarbageCollector(
  deps: ControllerDeps,
  shared: ReadonlyMap<string, WatchedKind<KubernetesObject>>,
): RunPart {
  return {
    name: 'garbage-collector',
    // All state is made anew with each lead: the graph is only fed while this runs.
    async run(signal) {
      let queue: Pick<WorkQueue, 'add'> | undefined;
      const enqueue = (uid: string): void => queue?.add(uid);
      const graph = createGraph();
      const log = deps.log.child({ controller: 'garbage-collector' });
      const monitor = createMonitor({ client: deps.client, clock: deps.clock, log, graph, shared, enqueue });
      const controller = createController(deps, {
        name: 'garbage-collector',
        workers: 8,
        reconcile: createGarbageReconciler({ client: deps.client, graph, resolve: monitor.resolve, enqueue }),
        watches: [
          {
            synced: (stop) => monitor.synced(stop),
            subscribe(target) {
              queue = target;
              return () => {
                queue = undefined;
              };
            },
          },
        ],
      });
      await runAll([controller, { name: 'garbage-collector monitor', run: (stop) => monitor.run(stop) }], signal);
    },
  };
}
