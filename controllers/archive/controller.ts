// Watched: Archives; Images that name them. What nobody names any more is deleted when its time is over; the agents that
// have the bytes let go of them then.
import { archiveKind, archiveName } from '../../crds/archive.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { isConflict, isNotFound } from '../../lib/errors.ts';
import type { RunPart } from '../../lib/run-all.ts';
import type { Image } from '../../crds/image.ts';
import { archiveOf } from '../image/plan.ts';
import { createIndex } from '../runtime/cache.ts';
import { createController, watch } from '../runtime/controller.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { isDeleting, joinKey, keyOf } from '../runtime/object-key.ts';
import type { Reconcile } from '../runtime/reconciler.ts';
import { planArchive } from './plan.ts';

/** Key of the Archive that an Image is made from. */
function archiveKeys(image: Image): string[] {
  const digest = archiveOf(image);
  return digest === undefined ? [] : [joinKey(image.metadata.namespace, archiveName(digest))];
}

/** The part that lets Archives expire. */
export function createArchiveController(deps: ControllerDeps): RunPart {
  const { archives, images } = deps.caches;
  const client = deps.client.kind(archiveKind);
  const usersOf = createIndex(images, archiveKeys);

  const reconcile: Reconcile = async (key, { signal }) => {
    const archive = archives.get(key);
    if (!archive || isDeleting(archive)) return {};
    const { name, namespace, uid, resourceVersion } = archive.metadata;
    const plan = planArchive(archive, usersOf.get(key).length > 0, deps.clock.now());
    try {
      switch (plan.kind) {
        case 'keep':
          return plan.lookAgainMs === undefined ? {} : { requeueAfterMs: plan.lookAgainMs };
        case 'expire': {
          const expiresAt = plan.atMs === null ? null : rfc3339(plan.atMs);
          await client.mergePatch(name, namespace, { metadata: { resourceVersion }, expiresAt }, {}, signal);
          return {};
        }
        case 'delete':
          await client.delete(
            name,
            namespace,
            { ...(uid === undefined ? {} : { uid }), ...(resourceVersion === undefined ? {} : { resourceVersion }) },
            signal,
          );
          return {};
      }
    } catch (error) {
      // It was uploaded again, or is gone: there is another event of it.
      if (!isConflict(error) && !isNotFound(error)) throw error;
      return { requeueAfterMs: 1000 };
    }
  };
  return createController(deps, {
    name: 'archive',
    workers: 1,
    reconcile,
    watches: [watch(archives, (archive) => [keyOf(archive)]), watch(images, archiveKeys)],
  });
}
