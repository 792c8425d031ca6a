// Garbage collection while pushes go on. Two steps, each of which looks again at the moment it removes something:
// a repository lets go of what no manifest (or tag, where that is wanted) leads to and nobody has wanted for a grace
// period; then bytes that no repository has are deleted. What is being pushed is held, and what a client was told is
// there counts as wanted, so that it may rely on it for as long as the grace period.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../../lib/clock.ts';
import { isAbort } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { RunPart } from '../../lib/run-all.ts';
import { evictOldest } from './evict-oldest.ts';
import type { RegistryStore } from './registry-store.ts';
import type { Uploads } from './uploads.ts';

export interface GarbageRules {
  /** How long what nothing leads to stays after it was last wanted. */
  readonly graceMs: number;
  readonly intervalMs: number;
  /** Remove manifests that no tag leads to, too. */
  readonly deleteUntagged: boolean;
  /** Of a cache: most bytes it keeps; 0 = any. */
  readonly cacheBytes: number;
}

export interface Garbage {
  readonly uploads: number;
  readonly manifests: number;
  readonly links: number;
  readonly blobs: number;
  readonly bytes: number;
}

/** One collection. */
export async function collectGarbage(
  { store, uploads, clock }: { readonly store: RegistryStore; readonly uploads: Uploads; readonly clock: Clock },
  rules: Omit<GarbageRules, 'intervalMs'>,
): Promise<Garbage> {
  const before = clock.now() - rules.graceMs;
  const expired = await uploads.expire();
  let manifests = 0;
  let links = 0;
  for (const name of store.names()) {
    if (rules.deleteUntagged) manifests += await store.deleteUntagged(name, before);
    links += await store.unlinkUnnamed(name, before);
  }
  if (rules.cacheBytes > 0) manifests += await evictOldest(store, rules.cacheBytes);
  const { blobs, bytes } = await store.content.sweep(store.isLive);
  return { uploads: expired, manifests, links, blobs, bytes };
}

/** Collects every `intervalMs`. */
export function garbageCollector(
  deps: {
    readonly store: RegistryStore;
    readonly uploads: Uploads;
    readonly clock: Clock;
    readonly log: Logger;
    readonly onCollected: (garbage: Garbage) => void;
  },
  rules: GarbageRules,
): RunPart {
  return {
    name: 'garbage collection',
    async run(signal) {
      while (!signal.aborted) {
        try {
          await sleep(rules.intervalMs, undefined, { signal });
          const garbage = await collectGarbage(deps, rules);
          deps.onCollected(garbage);
          if (Object.values(garbage).some((count) => count > 0)) deps.log.info({ ...garbage }, 'collected garbage');
        } catch (error) {
          if (isAbort(error)) return;
          deps.log.error({ err: error }, 'failed to collect garbage');
        }
      }
    },
  };
}
