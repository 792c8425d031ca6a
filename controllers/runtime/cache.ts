// What reconcilers read: the informers' caches, and indexes over them. Objects in a cache are never changed.
import type { KubernetesObject } from '../../crds/kind.ts';
import type { WatchedKind } from './controller.ts';
import { keyOf } from './object-key.ts';

/** All objects of one kind as last seen. Behind the server by the time an event travels. */
export interface Cache<T extends KubernetesObject> extends WatchedKind<T> {
  /** By `namespace/name`, or `name`. */
  get(key: string): T | undefined;
  list(): readonly T[];
}

export interface Index<T extends KubernetesObject> {
  get(value: string): readonly T[];
}

/**
 * Objects by what `valuesOf` says of them. Make it before the controllers that read it: handlers run in the order of
 * their subscription, and a key is only worth queueing when the index knows of the change.
 */
export function createIndex<T extends KubernetesObject>(
  cache: Pick<Cache<T>, 'subscribe'>,
  valuesOf: (object: T) => Iterable<string>,
): Index<T> {
  const byValue = new Map<string, Map<string, T>>();
  const remove = (object: T): void => {
    for (const value of valuesOf(object)) {
      const entries = byValue.get(value);
      entries?.delete(keyOf(object));
      if (entries?.size === 0) byValue.delete(value);
    }
  };
  cache.subscribe(({ object, previous, deleted }) => {
    if (previous) remove(previous);
    if (deleted) return remove(object);
    for (const value of valuesOf(object)) {
      const entries = byValue.get(value) ?? new Map<string, T>();
      entries.set(keyOf(object), object);
      byValue.set(value, entries);
    }
  });
  return { get: (value) => [...(byValue.get(value)?.values() ?? [])] };
}
