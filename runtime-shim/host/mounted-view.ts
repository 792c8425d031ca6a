// A mount namespace that is kept by its handle, and looked into from here.
import { statSync } from 'node:fs';

export interface MountedView {
  /** The namespace. */
  readonly fd: number;
  /** Its root folder. */
  readonly root: number;
  /** True when the file or folder at `path` is the same in the view; not what is mounted below it. */
  isSame(path: string): boolean;
}

/** Compares `path` with what is at its real path in the view with that root folder. */
export function isSameIn(root: number, path: string, realPathOf: () => string): boolean {
  const own = statSync(path, { throwIfNoEntry: false });
  if (own === undefined) return false;
  const other = statSync(`/proc/self/fd/${root}${realPathOf()}`, { throwIfNoEntry: false });
  return other?.dev === own.dev && other.ino === own.ino;
}
