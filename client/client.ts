// The API client that controllers, the node agent and the command line share. Objects are plain JSON as the server
// sent them; a caller that changes one clones it first.
import type { KindName, KubernetesObject, ObjectMeta } from '../crds/kind.ts';

export interface ListOptions {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface DeleteOptions {
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
}

export interface WatchEvent<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  readonly object: T;
}

/** One step of a JSON patch (RFC 6902). A `test` that fails refuses the whole patch with Invalid. */
export interface PatchOperation {
  readonly op: 'add' | 'remove' | 'replace' | 'test';
  readonly path: string;
  readonly value?: unknown;
}

/**
 * One kind's verbs. Errors are WindlassErrors carrying the server's reason (NotFound, Conflict, AlreadyExists,
 * Expired, Invalid, ...); a server that cannot be reached is Unavailable. Every call takes the caller's signal.
 */
export interface KindClient<T extends KubernetesObject> {
  readonly kind: KindName;
  /** The object, or undefined when it does not exist. */
  get(name: string, namespace: string | undefined, signal?: AbortSignal): Promise<T | undefined>;
  /** All objects (pages are followed) and the resourceVersion to watch from. */
  list(options?: ListOptions, signal?: AbortSignal): Promise<{ items: T[]; resourceVersion: string }>;
  /** Server events after `resourceVersion` until the server closes the stream or `signal` fires. */
  watch(options: ListOptions & { resourceVersion: string }, signal: AbortSignal): AsyncIterable<WatchEvent<T>>;
  create(
    object: Omit<T, 'apiVersion' | 'kind' | 'metadata'> & { metadata: Partial<ObjectMeta> },
    signal?: AbortSignal,
  ): Promise<T>;
  update(object: T, signal?: AbortSignal): Promise<T>;
  updateStatus(object: T, signal?: AbortSignal): Promise<T>;
  /** PUT to the finalize subresource, which only Namespaces have: what is missing in spec.finalizers is done. */
  finalize(object: T, signal?: AbortSignal): Promise<T>;
  /** JSON merge patch (RFC 7386). Put metadata.resourceVersion in `patch` to make it conditional. */
  mergePatch(
    name: string,
    namespace: string | undefined,
    patch: object,
    options?: { subresource?: 'status' | 'scale' | 'approval' },
    signal?: AbortSignal,
  ): Promise<T>;
  /** JSON patch (RFC 6902): what several write to one object at the same time, each a part of its own, needs no version. */
  jsonPatch(
    name: string,
    namespace: string | undefined,
    operations: readonly PatchOperation[],
    options?: { subresource?: 'status' },
    signal?: AbortSignal,
  ): Promise<T>;
  /** Resolves also when the object is already gone. */
  delete(name: string, namespace: string | undefined, options?: DeleteOptions, signal?: AbortSignal): Promise<void>;
}

export interface ApiClient {
  kind<T extends KubernetesObject>(kind: KindName & { readonly type?: T }): KindClient<T>;
  /**
   * Asks for a Container to go by way of the disruption budget it falls under: TooManyRequests when that has none left.
   * Resolves also when the Container is already gone.
   */
  evict(name: string, namespace: string, options?: Pick<DeleteOptions, 'uid'>, signal?: AbortSignal): Promise<void>;
  /** A GET outside the kinds, e.g. `/readyz`; returns status and body. */
  raw(path: string, signal?: AbortSignal): Promise<{ status: number; body: string }>;
  /** The server that is asked now: another one once it did not answer. */
  readonly server: string;
  /** Further servers of the cluster, in place of those that were given before. */
  setServers(others: readonly string[]): void;
  /** What new connections show from now on; those that are open stay as they are. */
  setCredentials(pair: { readonly cert: string; readonly key: string }): void;
  close(): Promise<void>;
}
