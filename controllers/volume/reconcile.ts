// Binds each Volume to a node, says who uses it, and holds its deletion back while someone does.
import type { KindClient } from '../../client/client.ts';
import type { Node } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import type { Volume } from '../../crds/volume.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Cache, Index } from '../runtime/cache.ts';
import { findCondition } from '../runtime/conditions.ts';
import type { Events } from '../runtime/events.ts';
import { hasFinalizer, IN_USE_FINALIZER, isDeleting, NODE_DATA_FINALIZER } from '../runtime/object-key.ts';
import type { Reconcile } from '../runtime/reconciler.ts';
import { ensureFinalizer, removeFinalizer, writeStatus } from '../runtime/write.ts';
import { planVolumeStatus } from './plan.ts';

export interface VolumeDeps {
  readonly client: KindClient<Volume>;
  readonly volumes: Cache<Volume>;
  readonly nodes: Cache<Node>;
  /** Containers by `namespace/volume`. */
  readonly usersOf: Index<Container>;
  readonly events: Events;
  readonly clock: Clock;
}

/** Keeps one Volume's status and its finalizer. */
export function createVolumeReconciler(deps: VolumeDeps): Reconcile {
  const { client, events } = deps;
  return async (key, { signal }) => {
    const cached = deps.volumes.get(key);
    if (!cached) return {};
    const users = deps.usersOf.get(key);
    if (isDeleting(cached) && users.length === 0) {
      await removeFinalizer(client, cached, IN_USE_FINALIZER, signal);
      // The agent that would delete the bytes is gone with its node, and so are the bytes.
      const home = cached.status?.nodeName;
      const isLost = home !== undefined && deps.nodes.get(home) === undefined;
      if (isLost && !hasFinalizer(cached, IN_USE_FINALIZER)) {
        await removeFinalizer(client, cached, NODE_DATA_FINALIZER, signal);
      }
      return {};
    }
    const volume = isDeleting(cached) ? cached : await ensureFinalizer(client, cached, IN_USE_FINALIZER, signal);
    const before = findCondition(volume, 'Ready');
    const status = planVolumeStatus({
      volume,
      users,
      hasNode: (name) => deps.nodes.get(name) !== undefined,
      now: deps.clock.now(),
    });
    await writeStatus(client, volume, status, signal);
    const after = status.conditions?.find(({ type }) => type === 'Ready');
    if (after && (after.reason !== before?.reason || after.message !== before.message)) {
      events.record(volume, {
        type: after.status === 'True' ? 'Normal' : 'Warning',
        reason: after.reason,
        message: after.message,
      });
    }
    return {};
  };
}
