// Paths inside a container's root, followed the way the container would: links stay in the root.
import { lstatSync, readlinkSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, WindlassError } from '../../lib/errors.ts';

const MAX_LINKS = 40;

export interface RootedPath {
  /** Absolute inside the root, without links, `.` or `..`. */
  readonly path: string;
  /** The same on the host. */
  readonly hostPath: string;
  /** undefined = nothing is there. */
  readonly stat: Stats | undefined;
}

/** Follows `path` inside `root`, the last component too. What does not exist is taken as it is written. */
export function resolveInRoot(root: string, path: string): RootedPath {
  if (path.includes('\0')) throw new WindlassError('Invalid', `path ${JSON.stringify(path)} holds a NUL`);
  const real: string[] = [];
  const todo = path.split('/').toReversed();
  let links = 0;
  let stat: Stats | undefined = lstatOf(root);
  while (todo.length > 0) {
    const part = todo.pop() as string;
    if (part === '' || part === '.') continue;
    if (part === '..') {
      real.pop();
      stat = lstatOf(join(root, ...real));
      continue;
    }
    const current = join(root, ...real, part);
    stat = lstatOf(current);
    if (stat?.isSymbolicLink()) {
      links += 1;
      if (links > MAX_LINKS) throw new WindlassError('Invalid', `too many links in path ${JSON.stringify(path)}`);
      const target = readlinkSync(current);
      if (target.startsWith('/')) real.length = 0;
      todo.push(...target.split('/').toReversed());
      stat = lstatOf(join(root, ...real));
      continue;
    }
    real.push(part);
  }
  return { path: `/${real.join('/')}`, hostPath: join(root, ...real), stat };
}

/** True when `path` is `parent` or below it; both without `.` and `..`. */
export function isWithin(path: string, parent: string): boolean {
  return path === parent || path.startsWith(parent.endsWith('/') ? parent : `${parent}/`);
}

function lstatOf(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}
