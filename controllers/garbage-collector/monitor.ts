// Follows every kind the server has, as kinds come and go, and keeps the graph of owners true.
import { isDeepStrictEqual } from 'node:util';
import type { ApiClient } from '../../client/client.ts';
import { createInformer } from '../../client/informer.ts';
import { pause } from '../../client/pause.ts';
import type { KindName, KubernetesObject } from '../../crds/kind.ts';
import type { Clock } from '../../lib/clock.ts';
import { isAbort } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { WatchedKind } from '../runtime/controller.ts';
import { discoverKinds, resourceName } from '../runtime/discovery.ts';
import type { Graph } from './graph.ts';

const DISCOVERY_INTERVAL_MS = 10_000;
/** Nothing owns or is owned by these, and there are many of them. */
const IGNORED = new Set(['events']);

export interface MonitorDeps {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly graph: Graph;
  /** Informers that the process has anyway, by `plural.group`. */
  readonly shared: ReadonlyMap<string, WatchedKind<KubernetesObject>>;
  readonly enqueue: (uid: string) => void;
}

export interface Monitor {
  /** Resolves when all kinds found at first are in the graph. */
  synced(signal: AbortSignal): Promise<void>;
  resolve(apiVersion: string, kind: string): KindName | undefined;
  run(signal: AbortSignal): Promise<void>;
}

/** A monitor that does nothing until run(). */
export function createMonitor(deps: MonitorDeps): Monitor {
  const { graph, log } = deps;
  const followed = new Map<string, { kind: KindName; stop: AbortController; done: Promise<void> }>();
  const synced = Promise.withResolvers<void>();

  function handle(
    kind: KindName,
    change: { object: KubernetesObject; previous: KubernetesObject | undefined; deleted: boolean },
  ): void {
    const { object, previous, deleted } = change;
    const uid = object.metadata.uid ?? '';
    // Deleted and made again under the same name while nobody watched: the old one is gone too.
    const lost = previous && previous.metadata.uid !== uid ? previous.metadata.uid : undefined;
    for (const gone of [lost, deleted ? uid : undefined]) if (gone !== undefined) forget(gone);
    if (deleted) return;
    const node = graph.set(kind, object);
    const isNews =
      !previous ||
      lost !== undefined ||
      !isDeepStrictEqual(previous.metadata.ownerReferences, object.metadata.ownerReferences);
    if ((isNews && node.owners.length > 0) || (node.isDeleting && node.finalizers.length > 0)) deps.enqueue(uid);
    if (node.isDeleting || isNews) enqueueWaitingOwners(node.owners);
  }

  function forget(uid: string): void {
    const node = graph.remove(uid);
    for (const child of graph.dependentsOf(uid)) deps.enqueue(child.uid);
    if (node) enqueueWaitingOwners(node.owners);
  }

  function enqueueWaitingOwners(owners: readonly { uid: string }[]): void {
    for (const { uid } of owners) if (graph.get(uid)?.isDeleting) deps.enqueue(uid);
  }

  function follow(kind: KindName, signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const combined = AbortSignal.any([signal, stop.signal]);
    const shared = deps.shared.get(resourceName(kind));
    const own = shared ? undefined : createInformer(deps.client.kind(kind), { log, clock: deps.clock });
    const source: WatchedKind<KubernetesObject> = shared ?? (own as WatchedKind<KubernetesObject>);
    const unsubscribe = source.subscribe((change) => handle(kind, change));
    const done = (own?.run(combined) ?? Promise.resolve()).catch((err: unknown) => {
      if (!isAbort(err)) log.error({ err, resource: resourceName(kind) }, 'informer ended');
    });
    combined.addEventListener('abort', unsubscribe, { once: true });
    followed.set(resourceName(kind), { kind, stop, done });
    return source.synced(combined);
  }

  async function discover(signal: AbortSignal): Promise<void> {
    const { kinds, failures } = await discoverKinds(deps.client, signal);
    const wanted = new Map(
      kinds.filter(({ plural }) => !IGNORED.has(plural)).map((kind) => [resourceName(kind), kind]),
    );
    const fresh = [...wanted].filter(([name]) => !followed.has(name)).map(([, kind]) => follow(kind, signal));
    // A group that could not be read may come back; only what is known to be gone is dropped.
    for (const [name, { kind, stop, done }] of failures.length > 0 ? [] : [...followed]) {
      if (wanted.has(name)) continue;
      stop.abort();
      await done;
      followed.delete(name);
      for (const uid of graph.uidsOf(kind)) forget(uid);
    }
    await Promise.all(fresh);
  }

  return {
    async synced(signal) {
      const aborted = Promise.withResolvers<never>();
      signal.addEventListener('abort', () => aborted.reject(new DOMException('stopped', 'AbortError')), { once: true });
      await Promise.race([synced.promise, aborted.promise]);
    },
    resolve: (apiVersion, kindName) =>
      [...followed.values()]
        .map(({ kind }) => kind)
        .find((kind) => kind.kind === kindName && kind.group === groupOf(apiVersion)),
    async run(signal) {
      while (!signal.aborted) {
        try {
          await discover(signal);
          synced.resolve();
        } catch (err) {
          if (signal.aborted) break;
          log.debug({ err }, 'cannot find out which kinds there are');
          await pause(deps.clock, 500, signal);
          continue;
        }
        await pause(deps.clock, DISCOVERY_INTERVAL_MS, signal);
      }
      await Promise.all([...followed.values()].map(({ done }) => done));
    },
  };
}

const groupOf = (apiVersion: string): string => (apiVersion.includes('/') ? (apiVersion.split('/')[0] ?? '') : '');
