// The informers of one process: one per kind and selector, shared by all its controllers.
import type { KindName, KubernetesObject } from '../crds/kind.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { runAll, type RunPart } from '../lib/run-all.ts';
import type { ApiClient, ListOptions } from './client.ts';
import { createInformer, type Informer } from './informer.ts';
import type { InformerMetrics } from './informer-metrics.ts';
import type { Indexer } from './object-cache.ts';

export interface InformerSet extends RunPart {
  /** A new informer that runs with the set. Call it while composing the process, before run(). */
  add<T extends KubernetesObject>(
    kind: KindName & { readonly type?: T },
    options?: ListOptions & { readonly indexes?: Readonly<Record<string, Indexer<T>>>; readonly resyncMs?: number },
  ): Informer<T>;
  /** Resolves once every informer of the set has synced. */
  synced(signal: AbortSignal): Promise<void>;
  /** As of each informer. */
  reconnect(openedBeforeMs: number): void;
}

/** An empty set over `client`. */
export function createInformerSet(deps: {
  client: ApiClient;
  log: Logger;
  clock: Clock;
  metrics?: InformerMetrics;
}): InformerSet {
  const parts: (RunPart & Pick<InformerSet, 'synced' | 'reconnect'>)[] = [];
  return {
    name: 'informers',
    add(kind, options = {}) {
      const { client, ...rest } = deps;
      const informer = createInformer(client.kind(kind), { ...rest, ...options });
      parts.push(informer);
      return informer;
    },
    async synced(signal) {
      await Promise.all(parts.map((part) => part.synced(signal)));
    },
    reconnect(openedBeforeMs) {
      for (const part of parts) part.reconnect(openedBeforeMs);
    },
    run: (signal) => runAll(parts, signal),
  };
}
