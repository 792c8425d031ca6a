// Who watches a collection, found by what an event is about: an event that concerns one node's objects costs nothing for
// the watchers of all other nodes.
import { WindlassError } from '../../lib/errors.ts';
import type { StoreEvent, WatchTopic } from './resource-store.ts';

/** Events a reader may lag behind before it is cut. */
const BACKLOG = 16_384;
const BACKLOG_BYTES = 64 * 1024 * 1024;

export interface Watcher {
  readonly namespace?: string;
  /** Absent: every event of the collection (and namespace). */
  readonly topic?: WatchTopic;
  pending: StoreEvent[];
  pendingBytes: number;
  failure?: WindlassError;
  wake: () => void;
}

export interface Watchers {
  add(watcher: Watcher): () => void;
  publish(event: StoreEvent): void;
  /** Ends all of them with Expired. */
  failAll(message: string): void;
}

/** Whether `event` is one that a watcher of `namespace` and `topic` gets. */
export function concerns({ namespace, topic }: Pick<Watcher, 'namespace' | 'topic'>, event: StoreEvent): boolean {
  if (namespace !== undefined && namespace !== event.entry.namespace) return false;
  return topic === undefined || topic.index.valuesOf(event).includes(topic.value);
}

/** Nobody yet. */
export function createWatchers(): Watchers {
  const general = new Set<Watcher>();
  const byTopic = new Map<WatchTopic['index'], Map<string, Set<Watcher>>>();

  const remove = (watcher: Watcher): void => {
    const { topic } = watcher;
    if (topic === undefined) {
      general.delete(watcher);
      return;
    }
    const byValue = byTopic.get(topic.index);
    const set = byValue?.get(topic.value);
    set?.delete(watcher);
    if (set?.size === 0) byValue?.delete(topic.value);
    if (byValue?.size === 0) byTopic.delete(topic.index);
  };
  const fail = (watcher: Watcher, message: string): void => {
    watcher.failure = new WindlassError('Expired', message);
    watcher.pending = [];
    watcher.pendingBytes = 0;
    remove(watcher);
    watcher.wake();
  };
  const deliver = (watcher: Watcher, event: StoreEvent): void => {
    if (watcher.namespace !== undefined && watcher.namespace !== event.entry.namespace) return;
    watcher.pending.push(event);
    watcher.pendingBytes += event.entry.bytes.length;
    if (watcher.pending.length > BACKLOG || watcher.pendingBytes > BACKLOG_BYTES) {
      fail(watcher, 'the watch is too slow: too many events pending');
    } else if (watcher.pending.length === 1) watcher.wake();
  };

  return {
    add(watcher) {
      const { topic } = watcher;
      if (topic === undefined) {
        general.add(watcher);
      } else {
        const byValue = byTopic.get(topic.index) ?? new Map<string, Set<Watcher>>();
        byTopic.set(topic.index, byValue);
        byValue.set(topic.value, (byValue.get(topic.value) ?? new Set()).add(watcher));
      }
      return () => remove(watcher);
    },
    publish(event) {
      for (const watcher of general) deliver(watcher, event);
      for (const [index, byValue] of byTopic) {
        for (const value of new Set(index.valuesOf(event))) {
          for (const watcher of byValue.get(value) ?? []) deliver(watcher, event);
        }
      }
    },
    failAll(message) {
      const all = [
        ...general,
        ...[...byTopic.values()].flatMap((byValue) => [...byValue.values()].flatMap((set) => [...set])),
      ];
      for (const watcher of all) fail(watcher, message);
    },
  };
}
