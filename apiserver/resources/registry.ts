// The resources this server serves right now. Built-ins never leave; a CRD's resources come and go with it.
import type { CollectionName, Resource } from './resource.ts';

export interface ResourceRegistry {
  lookup(group: string, version: string, plural: string): Resource | undefined;
  /** In a stable order: groups as they were added, then plural. */
  all(): readonly Resource[];
  /** Replaces all resources of `owner` (a CRD's name, a part's name); an empty list removes them. */
  set(owner: string, resources: readonly Resource[]): void;
  /** Grows with every set(); caches of derived documents compare it. */
  readonly generation: number;
  /** Calls `listener` after each change; returns how to stop. */
  onChange(listener: () => void): () => void;
}

/** An empty registry. */
export function createRegistry(): ResourceRegistry {
  const byOwner = new Map<string, readonly Resource[]>();
  const listeners = new Set<() => void>();
  let byPath = new Map<string, Resource>();
  let ordered: readonly Resource[] = [];
  let generation = 0;
  const path = (group: string, version: string, plural: string): string => `${group}/${version}/${plural}`;
  return {
    lookup: (group, version, plural) => byPath.get(path(group, version, plural)),
    all: () => ordered,
    get generation() {
      return generation;
    },
    set(owner, resources) {
      if (resources.length > 0) byOwner.set(owner, resources);
      else byOwner.delete(owner);
      ordered = [...byOwner.values()].flat();
      byPath = new Map(ordered.map((each) => [path(each.group, each.version, each.plural), each]));
      generation += 1;
      for (const listener of listeners) listener();
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** Where the objects of `resource` are kept. */
export function collectionOf(resource: Resource): CollectionName {
  return resource.stored ?? { group: resource.group, plural: resource.plural };
}

/** `containers.windlass.dev`, or just `nodes` in the core group: the name in upstream's messages. */
export function qualifiedName(resource: CollectionName): string {
  return resource.group === '' ? resource.plural : `${resource.plural}.${resource.group}`;
}

/** `windlass.dev/v1`, or just `v1` in the core group. */
export function apiVersionOf(resource: { readonly group: string; readonly version: string }): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}
