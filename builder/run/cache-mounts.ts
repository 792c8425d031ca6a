// Folders that RUN --mount=type=cache keeps from build to build:
//   <sha256 of the id>/record.json   id and time of creation; its own time of change is that of the last use
//   <sha256 of the id>/<number>      the folder; 0 but for private ones that are used at the same time
//   trash-<uuid>                     on its way out
// The id is whatever a Dockerfile says: hashed, it cannot name a place of its choice.
import { createHash, randomUUID } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { createKeyedQueue } from '../../lib/keyed-queue.ts';
import type { Spawner } from '../../runtime-shim/host/spawn.ts';
import { runProgram } from '../../runtime-shim/oci-runtime/run-program.ts';
import { diskUsage } from '../../runtime-shim/snapshots/disk-usage.ts';
import { removeTree } from '../../runtime-shim/snapshots/remove-tree.ts';
import type { RunMount } from '../operations.ts';
import { createCacheClaims } from './cache-claims.ts';

export type CacheMount = Extract<RunMount, { type: 'cache' }>;

export interface CacheUsage {
  readonly id: string;
  /** On disk, all its copies together. */
  readonly usedBytes: number;
  readonly createdAtMs: number;
  readonly lastUsedAtMs: number;
  readonly isInUse: boolean;
}

/** Without any, all of them go. */
export interface PruneOptions {
  /** Those that were not used for so long go. */
  readonly unusedForMs?: number;
  /** Those not used for longest go until all together are at most this. */
  readonly maxBytes?: number;
}

/** A cache folder that a step has until it gives it back. */
export interface CacheLease extends Disposable {
  /** On the host. */
  readonly path: string;
}

export interface CacheMounts {
  /**
   * The folder of a cache; one that is not there yet is made with the content of `initial()`, a folder on the host, or
   * else empty with the mode and owner of the mount. `locked` waits until nobody else has it, `private` gets another
   * folder while somebody has it. Rejects with the signal's reason when that fires while it waits.
   */
  acquire(
    mount: CacheMount,
    initial: (() => string | Promise<string>) | undefined,
    signal: AbortSignal,
  ): Promise<CacheLease>;
  list(): Promise<readonly CacheUsage[]>;
  /** Bytes on disk of all together. */
  usage(): Promise<number>;
  /** Deletes caches that nobody uses, without options all of them. Returns how many bytes that frees. */
  prune(options?: PruneOptions): Promise<number>;
}

export interface CacheMountsParts {
  readonly spawner: Spawner;
  /** Folder for the caches alone; only root may enter. */
  readonly folder: string;
  now(): number;
}

interface CacheRecord {
  readonly id: string;
  readonly createdAtMs: number;
}

const COPY_PROGRAM = '/bin/cp';
const KEY = /^[0-9a-f]{64}$/;

/** Opens the caches below `folder`, removing what a crash left half made or half deleted. */
export function openCacheMounts({ spawner, folder, now }: CacheMountsParts): CacheMounts {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(folder)) {
    if (name.startsWith('trash-')) discard(join(folder, name));
    if (!KEY.test(name)) continue;
    for (const part of readdirSync(join(folder, name))) {
      if (part.endsWith('.tmp')) moveAway(join(folder, name, part));
    }
  }
  const claims = createCacheClaims();
  const queue = createKeyedQueue();

  const recordFile = (key: string): string => join(folder, key, 'record.json');
  /** Gone or damaged = undefined: a cache is no loss. */
  function readRecord(key: string): CacheRecord | undefined {
    try {
      return JSON.parse(readFileSync(recordFile(key), 'utf8')) as CacheRecord;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }
  function touch(key: string): void {
    const time = now() / 1000;
    try {
      utimesSync(recordFile(key), time, time);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }
  function moveAway(path: string): void {
    const trash = join(folder, `trash-${randomUUID()}`);
    renameSync(path, trash);
    discard(trash);
  }

  /** By a rename at its end, so that a crash leaves all of it or nothing. */
  async function make(
    path: string,
    key: string,
    mount: CacheMount,
    initial: (() => string | Promise<string>) | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    mkdirSync(join(folder, key), { recursive: true, mode: 0o700 });
    if (readRecord(key) === undefined) {
      writeFileSync(recordFile(key), JSON.stringify({ id: mount.id, createdAtMs: now() }), { mode: 0o600 });
    }
    const fresh = `${path}.tmp`;
    if (existsSync(fresh)) moveAway(fresh);
    try {
      if (initial) await copyFolder(spawner, await initial(), fresh, signal);
      else {
        mkdirSync(fresh);
        chownSync(fresh, mount.uid, mount.gid);
        chmodSync(fresh, mount.mode);
      }
      renameSync(fresh, path);
    } catch (error) {
      rmSync(fresh, { recursive: true, force: true });
      throw error;
    }
  }

  async function list(): Promise<{ readonly key: string; readonly usage: CacheUsage }[]> {
    const usages: { readonly key: string; readonly usage: CacheUsage }[] = [];
    for (const key of readdirSync(folder).filter((name) => KEY.test(name))) {
      const changed = statSync(recordFile(key), { throwIfNoEntry: false });
      const { id, createdAtMs } = readRecord(key) ?? { id: '', createdAtMs: 0 };
      const { usedBytes } = await diskUsage(join(folder, key));
      const lastUsedAtMs = Math.round(changed?.mtimeMs ?? 0);
      usages.push({ key, usage: { id, usedBytes, createdAtMs, lastUsedAtMs, isInUse: claims.isClaimed(key) } });
    }
    return usages;
  }

  return {
    async acquire(mount, initial, signal) {
      const key = createHash('sha256').update(mount.id).digest('hex');
      const claim = await claims.claim(key, mount.sharing, signal);
      try {
        const path = join(folder, key, String(claim.index));
        await queue.run(key, async () => {
          if (!existsSync(path)) await make(path, key, mount, initial, signal);
          touch(key);
        });
        return {
          path,
          [Symbol.dispose]() {
            touch(key);
            claim[Symbol.dispose]();
          },
        };
      } catch (error) {
        claim[Symbol.dispose]();
        throw error;
      }
    },
    list: async () => (await list()).map(({ usage }) => usage),
    usage: async () => (await list()).reduce((sum, { usage }) => sum + usage.usedBytes, 0),
    async prune({ unusedForMs, maxBytes = unusedForMs === undefined ? 0 : Infinity } = {}) {
      const all = (await list()).toSorted((a, b) => a.usage.lastUsedAtMs - b.usage.lastUsedAtMs);
      let left = all.reduce((sum, { usage }) => sum + usage.usedBytes, 0);
      let freed = 0;
      for (const { key, usage } of all) {
        const { usedBytes, lastUsedAtMs } = usage;
        const isOld = unusedForMs !== undefined && lastUsedAtMs <= now() - unusedForMs;
        const isTooMuch = left > maxBytes || maxBytes === 0;
        if (!isOld && !isTooMuch) continue;
        // In turn with those who are about to use it.
        const isGone = await queue.run(key, async () => {
          if (claims.isClaimed(key) || !existsSync(join(folder, key))) return false;
          moveAway(join(folder, key));
          return true;
        });
        if (!isGone) continue;
        left -= usedBytes;
        freed += usedBytes;
      }
      return freed;
    },
  };
}

/** What cannot be deleted now is by the next process. */
function discard(path: string): void {
  removeTree(path).catch(() => undefined);
}

/** -a keeps owners, modes, times, links, hard links and extended attributes; -T copies onto, not into. */
async function copyFolder(spawner: Spawner, source: string, target: string, signal: AbortSignal): Promise<void> {
  const argv = [COPY_PROGRAM, '-a', '-T', '--', source, target];
  const { code, stderr } = await runProgram(spawner, { file: COPY_PROGRAM, argv, signal });
  if (code !== 0) {
    throw new WindlassError('Internal', `failed to copy the initial content of a cache: ${stderr.trim()}`);
  }
}
