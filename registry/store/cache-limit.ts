// Keeps a cache within its bytes from fetch to fetch; the collection that runs now and then would come too late.
import type { Logger } from '../../lib/log.ts';
import { evictOldest } from './evict-oldest.ts';
import type { RegistryStore } from './registry-store.ts';

/** To be called after something was fetched; evicts once at a time. `maxBytes` 0 = any. */
export function createCacheLimit(
  { store, log }: { readonly store: RegistryStore; readonly log: Logger },
  maxBytes: number,
): () => void {
  let running = false;
  return () => {
    if (running || maxBytes === 0 || store.storedBytes() <= maxBytes) return;
    running = true;
    evictOldest(store, maxBytes)
      .then(() => store.content.sweep(store.isLive))
      .catch((err: unknown) => log.error({ err }, 'failed to make room in the cache'))
      .finally(() => (running = false));
  };
}
