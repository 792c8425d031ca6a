// Watched: Volumes; Containers that mount them; Nodes that join or leave.
import type { Container } from '../../crds/container.ts';
import { volumeKind } from '../../crds/volume.ts';
import type { RunPart } from '../../lib/run-all.ts';
import { createIndex } from '../runtime/cache.ts';
import { createController, watch } from '../runtime/controller.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { joinKey, keyOf } from '../runtime/object-key.ts';
import { volumeNamesOf } from './plan.ts';
import { createVolumeReconciler } from './reconcile.ts';

/** The part that keeps Volumes. */
export function createVolumeController(deps: ControllerDeps): RunPart {
  const { volumes, containers, nodes } = deps.caches;
  const keysOf = (container: Container): string[] =>
    volumeNamesOf(container).map((name) => joinKey(container.metadata.namespace, name));
  const onNode = createIndex(volumes, ({ spec, status }) =>
    [status?.nodeName ?? spec.nodeName].filter((name) => name !== undefined),
  );
  return createController(deps, {
    name: 'volume',
    reconcile: createVolumeReconciler({
      client: deps.client.kind(volumeKind),
      volumes,
      nodes,
      usersOf: createIndex(containers, keysOf),
      events: deps.events,
      clock: deps.clock,
    }),
    watches: [
      watch(volumes, (volume) => [keyOf(volume)]),
      watch(containers, keysOf),
      watch(nodes, (node) => onNode.get(node.metadata.name).map(keyOf)),
    ],
  });
}
