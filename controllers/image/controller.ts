// Watched: Images; Containers that name them; Nodes that come, go or change readiness.
import { isDeepStrictEqual } from 'node:util';
import type { Node } from '../../crds/builtin.ts';
import { imageKind, PULL_NODE_ANNOTATION } from '../../crds/image.ts';
import type { RunPart } from '../../lib/run-all.ts';
import { createIndex } from '../runtime/cache.ts';
import { createController, watch, type Watch } from '../runtime/controller.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { RUNTIME_FEATURES_ANNOTATION, keyOf } from '../runtime/object-key.ts';
import { imageUseOf, isReady, isUsable, usesMeaning } from './plan.ts';
import { createImageReconciler } from './reconcile.ts';

/** What of a Node decides where images go. */
const factsOf = (node: Node): unknown => [
  isUsable(node),
  isReady(node),
  node.metadata.annotations?.[RUNTIME_FEATURES_ANNOTATION],
  node.metadata.labels,
];

/** The part that assigns Images to nodes. */
export function createImageController(deps: ControllerDeps): RunPart {
  const { images, containers, nodes } = deps.caches;
  const byUse = createIndex(images, usesMeaning);
  const readiness: Watch = {
    synced: (signal) => Promise.all([nodes.synced(signal), images.synced(signal)]).then(() => undefined),
    subscribe: (queue) =>
      nodes.subscribe(({ object, previous, deleted }) => {
        if (previous && !deleted && isDeepStrictEqual(factsOf(previous), factsOf(object))) return;
        for (const image of images.list()) queue.add(keyOf(image));
      }),
  };
  // What an Image has to know is who uses it, not what becomes of them.
  const users: Watch = {
    synced: (signal) => Promise.all([containers.synced(signal), images.synced(signal)]).then(() => undefined),
    subscribe: (queue) =>
      containers.subscribe(({ object, previous, deleted }) => {
        const uses = [imageUseOf(object), ...(previous ? [imageUseOf(previous)] : [])];
        if (previous && !deleted && uses[0] === uses[1]) return;
        for (const image of uses.flatMap((use) => byUse.get(use))) queue.add(keyOf(image));
      }),
  };
  return createController(deps, {
    name: 'image',
    reconcile: createImageReconciler({
      client: deps.client.kind(imageKind),
      images,
      archives: deps.caches.archives,
      nodes,
      meantBy: byUse,
      usersOf: createIndex(containers, (container) => [imageUseOf(container)]),
      imagesOf: createIndex(images, ({ metadata }) =>
        [metadata.annotations?.[PULL_NODE_ANNOTATION]].filter((name) => name !== undefined),
      ),
      events: deps.events,
      clock: deps.clock,
    }),
    // Those that have a reference in common, too: which of them it means may change with any of them.
    watches: [watch(images, (image) => [image, ...usesMeaning(image).flatMap(byUse.get)].map(keyOf)), users, readiness],
  });
}
