// The Containers that found no node, until something changes for them.
import type { Container } from '../../crds/container.ts';
import { joinKey, keyOf } from '../runtime/object-key.ts';
import { companionsOf } from './filters/co-location.ts';

/** Changes of one moment are answered with one round over the Containers that wait. */
const RETRY_DELAY_MS = 50;

export interface Waiting {
  add(container: Container): void;
  delete(key: string): void;
  /** Those that wait to be on one node with Container `key`. */
  companionsOf(key: string): readonly string[];
  /**
   * Queues all for another try, the most important first. One that is queued already and was not looked at since is
   * left alone, so that many changes at once cost one walk and not one each.
   */
  retry(queue: { addAfter(key: string, delayMs: number): void }): void;
}

/** Nothing waits. */
export function createWaiting(): Waiting {
  const waiting = new Map<string, { readonly companions: readonly string[] }>();
  const byCompanion = new Map<string, Set<string>>();
  /** Priority of each that was looked at since it was last queued. */
  const unqueued = new Map<string, number>();

  function remove(key: string): void {
    unqueued.delete(key);
    for (const companion of waiting.get(key)?.companions ?? []) {
      const keys = byCompanion.get(companion);
      keys?.delete(key);
      if (keys?.size === 0) byCompanion.delete(companion);
    }
    waiting.delete(key);
  }

  return {
    add(container) {
      const key = keyOf(container);
      remove(key);
      const companions = companionsOf(container).map((name) => joinKey(container.metadata.namespace, name));
      waiting.set(key, { companions });
      unqueued.set(key, container.spec.priority);
      for (const companion of companions) {
        const keys = byCompanion.get(companion) ?? new Set<string>();
        byCompanion.set(companion, keys.add(key));
      }
    },
    delete: remove,
    companionsOf: (key) => [...(byCompanion.get(key) ?? [])],
    retry(queue) {
      if (unqueued.size === 0) return;
      const keys = [...unqueued].toSorted(([, a], [, b]) => b - a).map(([key]) => key);
      unqueued.clear();
      for (const key of keys) queue.addAfter(key, RETRY_DELAY_MS);
    },
  };
}
