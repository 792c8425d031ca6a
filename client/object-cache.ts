// The objects of one kind in memory, by key and by index. Everything in it is frozen: a caller that wants to change
// an object clones it, and one that forgets gets a TypeError instead of a poisoned cache.
import type { KubernetesObject } from '../crds/kind.ts';

/** Values under which an object is found in an index. */
export type Indexer<T> = (object: T) => readonly string[];

/** Read access to the cache of an informer. */
export interface Lister<T extends KubernetesObject> {
  /** The object of `namespace/name` (or `name`). */
  get(key: string): T | undefined;
  /** All objects, or those of one namespace. */
  list(namespace?: string): T[];
  /** The objects that index `index` has under `value`. Throws when there is no such index. */
  byIndex(index: string, value: string): T[];
}

export interface ObjectCache<T extends KubernetesObject> extends Lister<T> {
  /** Stores `object`, frozen, and returns what was there before. */
  put(object: T): T | undefined;
  remove(key: string): T | undefined;
  keys(): string[];
  size(): number;
}

/** `namespace/name`, or `name` for what is in no namespace. */
export function objectKey({ metadata }: { metadata: { namespace?: string; name: string } }): string {
  return metadata.namespace ? `${metadata.namespace}/${metadata.name}` : metadata.name;
}

const NAMESPACE = 'namespace';

/** An empty cache with the given indexes besides that of the namespace. */
export function createObjectCache<T extends KubernetesObject>(
  indexes: Readonly<Record<string, Indexer<T>>> = {},
): ObjectCache<T> {
  const objects = new Map<string, T>();
  const indexers: Readonly<Record<string, Indexer<T>>> = {
    ...indexes,
    [NAMESPACE]: ({ metadata }) => (metadata.namespace === undefined ? [] : [metadata.namespace]),
  };
  const buckets = new Map(Object.keys(indexers).map((name) => [name, new Map<string, Set<string>>()]));

  const unindex = (key: string, object: T): void => {
    for (const [name, indexer] of Object.entries(indexers)) {
      const bucket = buckets.get(name);
      for (const value of indexer(object)) {
        const keys = bucket?.get(value);
        keys?.delete(key);
        if (keys?.size === 0) bucket?.delete(value);
      }
    }
  };
  const index = (key: string, object: T): void => {
    for (const [name, indexer] of Object.entries(indexers)) {
      const bucket = buckets.get(name);
      for (const value of indexer(object)) {
        const keys = bucket?.get(value);
        if (keys) keys.add(key);
        else bucket?.set(value, new Set([key]));
      }
    }
  };
  const cache: ObjectCache<T> = {
    get: (key) => objects.get(key),
    list: (namespace) => (namespace === undefined ? [...objects.values()] : cache.byIndex(NAMESPACE, namespace)),
    byIndex(name, value) {
      const bucket = buckets.get(name);
      if (!bucket) throw new Error(`there is no index ${JSON.stringify(name)}`);
      return [...(bucket.get(value) ?? [])].flatMap((key) => objects.get(key) ?? []);
    },
    put(object) {
      const key = objectKey(object);
      const previous = objects.get(key);
      if (previous) unindex(key, previous);
      objects.set(key, deepFreeze(object));
      index(key, object);
      return previous;
    },
    remove(key) {
      const previous = objects.get(key);
      if (previous) unindex(key, previous);
      objects.delete(key);
      return previous;
    },
    keys: () => [...objects.keys()],
    size: () => objects.size,
  };
  return cache;
}

/** Freezes plain JSON data all the way down and returns it. */
export function deepFreeze<T>(value: T): T {
  if (value === null || typeof value !== 'object' || Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
