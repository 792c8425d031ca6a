import type { Spawner } from '../../runtime-shim/host/spawn.ts';
import type { RunMount } from '../operations.ts';

export type CacheMount = Extract<RunMount, { type: 'cache' }>;

export interface CacheUsage {
  readonly id: string;
  /** On disk, all its copies together. */
  readonly usedBytes: number;
  readonly createdAtMs: number;
  readonly lastUsedAtMs: number;
  readonly isInUse: boolean;
}

export interface PruneOptions {
  /** Unused for so long. */
  readonly unusedForMs?: number;
  /** Of what is left after that, the longest unused go until the rest is at most this. */
  readonly maxBytes?: number;
}

/** A cache folder that a step has until it gives it back. */
export interface CacheLease extends Disposable {
  /** On the host. */
  readonly path: string;
}

export interface CacheMounts {
  /**
   * The folder of a cache, made if it is not there, with the content of `initial` (a folder on the host). `locked` waits
   * for those that have it, `private` gets a copy of its own while somebody has it.
   */
  acquire(mount: CacheMount, initial: string | undefined, signal: AbortSignal): Promise<CacheLease>;
  list(): Promise<readonly CacheUsage[]>;
  /** Bytes on disk of all together. */
  usage(): Promise<number>;
  /** Deletes caches that nobody uses, without options all of them. Returns how many bytes were freed. */
  prune(options?: PruneOptions): Promise<number>;
}

export interface CacheMountsParts {
  readonly spawner: Spawner;
  /** Folder for the caches alone. */
  readonly folder: string;
  now(): number;
}
