// Reading and writing the small files of a cgroup, and the parsers of their texts.
import { mkdirSync, readdirSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { readKernelText } from '../../lib/kernel-file.ts';

/** Text of a file; undefined when it (or its group) is gone. */
export function readCgroupFile(...parts: string[]): string | undefined {
  try {
    return readKernelText(parts.join('/'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENODEV') return undefined;
    throw error;
  }
}

/** A single number, 0 when the file is gone; `max` and v1's page-rounded 2^63 are undefined. */
export function parseLimit(text: string | undefined): number | undefined {
  const value = Number((text ?? 'max').trim());
  return Number.isFinite(value) && value < 2 ** 62 ? value : undefined;
}

/** A single number; 0 when the file is gone. */
export function parseCount(text: string | undefined): number {
  const value = Number((text ?? '0').trim());
  return Number.isFinite(value) ? value : 0;
}

/** A file of `key value` lines. */
export function parseKeyed(text: string | undefined): ReadonlyMap<string, number> {
  return new Map(
    (text ?? '').split('\n').flatMap((line) => {
      const [key, value] = line.split(' ');
      return key && value !== undefined ? [[key, Number(value)] as const] : [];
    }),
  );
}

/** Of a directory: its name, and its own `.`. */
const LINKS_WITHOUT_CHILDREN = 2;

export interface FileWrite {
  readonly file: string;
  readonly value: string;
}

/** Writes in order; on a failure puts the earlier values back and throws Invalid naming the file. */
export function writeAllOrNone(writes: readonly FileWrite[]): void {
  const done: FileWrite[] = [];
  for (const [index, { file, value }] of writes.entries()) {
    // Nothing comes after the last one that could fail.
    const before = index === writes.length - 1 ? undefined : readCgroupFile(file)?.trim();
    try {
      writeFileSync(file, value);
    } catch (error) {
      for (const undo of done.toReversed()) {
        try {
          writeFileSync(undo.file, undo.value);
        } catch {
          // Best effort: the first failure is the one to tell.
        }
      }
      if (errnoOf(error) === 'ENOENT') {
        throw new WindlassError('NotFound', `failed to set ${file}: the control group or the controller is not there`, {
          cause: error,
        });
      }
      throw new WindlassError('Invalid', `failed to set ${file} to ${value}: ${errnoOf(error) ?? 'error'}`, {
        cause: error,
      });
    }
    if (before !== undefined) done.push({ file, value: before });
  }
}

/** Pids of a cgroup.procs tree, without those that this pid namespace cannot name: 0 means oneself to kill(2). */
export function readProcsBelow(directory: string): number[] {
  const own = readCgroupFile(directory, 'cgroup.procs');
  if (own === undefined) return [];
  const pids = own.split('\n').flatMap((line) => (Number(line) > 0 ? [Number(line)] : []));
  for (const child of childDirectories(directory)) pids.push(...readProcsBelow(join(directory, child)));
  return pids;
}

/** Removes a group and those below; gone = success, Conflict while something lives in it. */
export function removeTree(directory: string): void {
  try {
    rmdirSync(directory);
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT') return;
    if (code === 'EBUSY' || code === 'ENOTEMPTY') {
      const children = childDirectories(directory);
      for (const child of children) removeTree(join(directory, child));
      if (children.length > 0) return removeTree(directory);
      throw new WindlassError('Conflict', `control group ${directory} still has processes`, { cause: error });
    }
    throw error;
  }
}

export function makeGroup(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o755 });
}

export function childDirectories(directory: string): string[] {
  // The kernel counts a group's children in its links (kernfs_refresh_inode()), which spares a list of all its files.
  if (statSync(directory, { throwIfNoEntry: false })?.nlink === LINKS_WITHOUT_CHILDREN) return [];
  try {
    return readdirSync(directory, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [entry.name] : [],
    );
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** SIGKILL; gone = success. */
export function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}
