// Deletes Containers that finished for good, ttlSecondsAfterFinished later.
import { containerKind, type Container } from '../../crds/container.ts';
import type { RunPart } from '../../lib/run-all.ts';
import { createController, watch } from '../runtime/controller.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { isDeleting, keyOf } from '../runtime/object-key.ts';

/** Milliseconds until the Container is to go; undefined when it is not, or not yet known. */
export function ttlLeftMs({ spec, status }: Container, now: number): number | undefined {
  const { ttlSecondsAfterFinished: ttl } = spec;
  if (ttl === undefined || (status?.phase !== 'Succeeded' && status?.phase !== 'Failed')) return undefined;
  const finishedAt = Date.parse(status.finishedAt ?? '');
  return Number.isNaN(finishedAt) ? undefined : Math.max(0, finishedAt + ttl * 1000 - now);
}

/** The part that removes finished Containers. */
export function createTtlController(deps: ControllerDeps): RunPart {
  const { containers } = deps.caches;
  const client = deps.client.kind(containerKind);
  return createController(deps, {
    name: 'ttl-after-finished',
    watches: [
      watch(containers, (container) =>
        container.spec.ttlSecondsAfterFinished === undefined ? [] : [keyOf(container)],
      ),
    ],
    async reconcile(key, { signal, log }) {
      const container = containers.get(key);
      if (!container || isDeleting(container)) return {};
      const leftMs = ttlLeftMs(container, deps.clock.now());
      if (leftMs === undefined) return {};
      if (leftMs > 0) return { requeueAfterMs: leftMs };
      const { name, namespace, uid, resourceVersion } = container.metadata;
      // The version is a precondition too: one that was started again meanwhile stays.
      const preconditions = { ...(uid ? { uid } : {}), ...(resourceVersion ? { resourceVersion } : {}) };
      await client.delete(name, namespace, { ...preconditions, propagationPolicy: 'Background' }, signal);
      log.info('deleted a finished container');
      return {};
    },
  });
}
