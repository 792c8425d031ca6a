// What a writable layer takes on disk, as somebody who wants to hide it would not be able to: names that are no text,
// paths longer than a path may be, files that are deleted but still open.
import { closeSync, constants, lstatSync, openSync, opendirSync, readdirSync, statSync, type Stats } from 'node:fs';
import { errnoOf } from '../../lib/errors.ts';
import { bytePath, nativePath } from '../../oci/layers/file-system-calls.ts';
import type { Usage } from './usage-cache.ts';

/** Half of PATH_MAX: longer paths are walked from an open folder. */
const LONG_PATH = 2048;
const BLOCK_BYTES = 512;

export interface LayerToMeasure {
  readonly upperDir: string;
  readonly mergedDir: string;
  /** Processes of the container, which may have deleted files open. */
  readonly pids: readonly number[];
  /** Counting ends as soon as one of these is exceeded; absent = none. */
  readonly bytes?: number | undefined;
  readonly inodes?: number | undefined;
}

/** Counts blocks and inodes below `upperDir`, the folder itself left out. Synchronous: for a thread of its own. */
export function measureLayer(layer: LayerToMeasure): Usage {
  const { bytes = Number.POSITIVE_INFINITY, inodes = Number.POSITIVE_INFINITY } = layer;
  const total = { usedBytes: 0, inodes: 0 };
  const linked = new Set<number>();
  const add = ({ nlink, ino, blocks }: Stats, isFolder: boolean): boolean => {
    if (!isFolder && nlink !== 1) {
      if (linked.has(ino)) return true;
      linked.add(ino);
    }
    total.usedBytes += blocks * BLOCK_BYTES;
    total.inodes += 1;
    return total.usedBytes <= bytes && total.inodes <= inodes;
  };
  if (walk(bytePath(layer.upperDir), add)) addDeleted(layer, add);
  return total;
}

type Visit = (stats: Stats, isFolder: boolean) => boolean;

/** Visits what is below `top`; false when a visit said so. What vanishes meanwhile is left out. */
function walk(top: string, visit: Visit): boolean {
  const todo = [top];
  for (let folder = todo.pop(); folder !== undefined; folder = todo.pop()) {
    if (folder.length > LONG_PATH) {
      if (!walkFromOpen(folder, visit)) return false;
    } else if (!visitEntries(folder, visit, (path) => todo.push(path))) return false;
  }
  return true;
}

function walkFromOpen(folder: string, visit: Visit): boolean {
  const fd = tolerate(() =>
    openSync(nativePath(folder), constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW),
  );
  if (fd === undefined) return true;
  try {
    return walk(`/proc/self/fd/${fd}`, visit);
  } finally {
    closeSync(fd);
  }
}

function visitEntries(folder: string, visit: Visit, onFolder: (path: string) => void): boolean {
  // Read in portions: a folder may have a million entries.
  const directory = tolerate(() => opendirSync(nativePath(folder) as string, { encoding: 'latin1', bufferSize: 256 }));
  if (!directory) return true;
  try {
    for (let entry = directory.readSync(); entry; entry = directory.readSync()) {
      const path = `${folder}/${entry.name}`;
      const stats = tolerate(() => lstatSync(nativePath(path)));
      if (!stats) continue;
      if (!visit(stats, stats.isDirectory())) return false;
      if (stats.isDirectory()) onFolder(path);
    }
    return true;
  } finally {
    directory.closeSync();
  }
}

/**
 * Files without a name that a process of the container has open. All layers are on one file system, so the overlay shows
 * its own device number and the inode numbers of the files below it.
 */
function addDeleted({ mergedDir, pids }: LayerToMeasure, visit: Visit): boolean {
  const device = statSync(mergedDir, { throwIfNoEntry: false })?.dev;
  for (const pid of pids) {
    const folder = `/proc/${pid}/fd`;
    for (const fd of tolerate(() => readdirSync(folder)) ?? []) {
      const stats = tolerate(() => statSync(`${folder}/${fd}`));
      if (stats?.nlink !== 0 || stats.dev !== device || !stats.isFile()) continue;
      if (!visit(stats, false)) return false;
    }
  }
  return true;
}

/** A process or a file that is gone is no trouble; a link count that fell to 0 meanwhile counts once. */
function tolerate<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ESRCH', 'ELOOP', 'EACCES'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}
