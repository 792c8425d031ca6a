// Places in a step's root that something is mounted on while it runs. What is not there is made, and taken away again
// when the step is over: it must not show in the layer. By then the command has had its way with the root: a folder on
// the way to a mount point can be a link to anywhere, so the way back is walked folder by folder, and no link is followed
// (CVE-2024-23652).
import { closeSync, constants, fstatSync, lstatSync, mkdirSync, openSync, rmdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { llistxattr, lutimesNs } from '../../runtime-shim/host/file-nodes.ts';

const O_PATH = 0o10000000;

/** What overlayfs notes of where a folder was copied from. */
const HARMLESS_XATTRS = new Set(['trusted.overlay.origin', 'trusted.overlay.impure', 'trusted.overlay.uuid']);

export type PointKind = 'file' | 'directory';

interface Times {
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
}

interface Made {
  /** Names from the root to it. */
  readonly parts: readonly string[];
  readonly kind: PointKind;
  /** Of the folder it is in, before and after it was made. */
  readonly before: Times;
  readonly after: Times;
}

export interface MountPoints {
  /**
   * Sees to it that something can be mounted at `path`: absolute, without links, `.` or `..`. Invalid when something of
   * another kind is there. What is made for one that `isKept` stays in the layer.
   */
  ensure(path: string, kind: PointKind, label: string, isKept?: boolean): void;
  /**
   * Takes away what was made and is still as it was. To be called when nobody else changes the root. Returns the folders
   * (relative to the root, deepest first) that the kernel copied into the upper one to make something in them.
   */
  remove(): readonly string[];
}

/** Mount points in the folder `root`, of which nothing is changed yet. */
export function createMountPoints(root: string): MountPoints {
  const made: Made[] = [];
  const copied = new Set<string>();
  return {
    ensure(path, kind, label, isKept = false) {
      const parts = path.split('/').filter((part) => part !== '');
      for (let depth = 1; depth <= parts.length; depth += 1) {
        const own = parts.slice(0, depth);
        const wanted = depth === parts.length ? kind : 'directory';
        const at = join(root, ...own);
        const found = lstatSync(at, { throwIfNoEntry: false });
        if (found) {
          if (found.isDirectory() === (wanted === 'directory')) continue;
          const is = found.isDirectory() ? 'a directory' : 'a file';
          throw new WindlassError(
            'Invalid',
            `${label}: /${own.join('/')} is ${is} in this stage, where a ${wanted} is needed`,
          );
        }
        const parent = join(root, ...own.slice(0, -1));
        const before = timesOf(parent);
        if (!isKept) for (let above = depth - 1; above > 0; above -= 1) copied.add(parts.slice(0, above).join('/'));
        if (wanted === 'directory') mkdirSync(at, { mode: 0o755 });
        else closeSync(openSync(at, 'wx', 0o644));
        if (!isKept) made.push({ parts: own, kind: wanted, before, after: timesOf(parent) });
      }
    },
    remove() {
      // Deepest first, and each parent gets its times back before its own parent is looked at.
      const points = made.splice(0).toReversed();
      for (const point of points) removePoint(root, point);
      const own = new Set(points.map(({ parts }) => parts.join('/')));
      return [...copied].filter((path) => !own.has(path)).toSorted((a, b) => b.split('/').length - a.split('/').length);
    },
  };
}

/**
 * Deletes from an upper folder, whose overlay is not mounted, those of `folders` (deepest first) that are empty there and
 * as they are below: they are there for a mount point that is gone, and would be in the layer for nothing.
 */
export function dropCopies(upperDir: string, lowerDirs: readonly string[], folders: readonly string[]): void {
  for (const path of folders) {
    const parts = path.split('/');
    const parent = openFolder(upperDir, parts.slice(0, -1));
    if (parent === undefined) continue;
    try {
      const own = `/proc/self/fd/${parent}/${parts.at(-1) ?? ''}`;
      if (!isCopy(own, lowerDirs, parts)) continue;
      const { atimeNs, mtimeNs } = fstatSync(parent, { bigint: true });
      if (removeUnchanged(own, 'directory')) lutimesNs(`/proc/self/fd/${parent}/.`, atimeNs, mtimeNs);
    } finally {
      closeSync(parent);
    }
  }
}

function isCopy(path: string, lowerDirs: readonly string[], parts: readonly string[]): boolean {
  const own = lstatSync(path, { throwIfNoEntry: false, bigint: true });
  if (!own?.isDirectory()) return false;
  // Opaque, or with attributes of its own: that is a change.
  if (llistxattr(path).some((name) => !HARMLESS_XATTRS.has(name))) return false;
  for (const lower of lowerDirs) {
    const fd = openFolder(lower, parts);
    if (fd === undefined) continue;
    try {
      const below = fstatSync(fd, { bigint: true });
      return (['mode', 'uid', 'gid', 'mtimeNs'] as const).every((field) => own[field] === below[field]);
    } finally {
      closeSync(fd);
    }
  }
  return false;
}

function removePoint(root: string, { parts, kind, before, after }: Made): void {
  const name = parts.at(-1) ?? '';
  const parent = openFolder(root, parts.slice(0, -1));
  if (parent === undefined) return;
  try {
    const folder = `/proc/self/fd/${parent}`;
    const now = fstatSync(parent, { bigint: true });
    if (!removeUnchanged(join(folder, name), kind)) return;
    // A folder that the step changed has the time of that; one that only the mount point was made in has its old one.
    const { atimeNs, mtimeNs } = now.mtimeNs === after.mtimeNs ? before : now;
    lutimesNs(`${folder}/.`, atimeNs, mtimeNs);
  } finally {
    closeSync(parent);
  }
}

/** False when something else is there, or the step has put something into it. */
function removeUnchanged(path: string, kind: PointKind): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  try {
    if (kind === 'directory' && found?.isDirectory()) rmdirSync(path);
    else if (kind === 'file' && found?.isFile() && found.size === 0) unlinkSync(path);
    else return false;
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOTEMPTY') return false;
    throw error;
  }
}

/** A handle of the folder; undefined when it is gone, or a link is on the way. */
function openFolder(root: string, parts: readonly string[]): number | undefined {
  let fd = openSync(root, O_PATH | constants.O_DIRECTORY);
  for (const part of parts) {
    try {
      const next = openSync(`/proc/self/fd/${fd}/${part}`, O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW);
      closeSync(fd);
      fd = next;
    } catch (error) {
      closeSync(fd);
      if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) return undefined;
      throw error;
    }
  }
  return fd;
}

function timesOf(folder: string): Times {
  const { atimeNs, mtimeNs } = lstatSync(folder, { bigint: true });
  return { atimeNs, mtimeNs };
}
