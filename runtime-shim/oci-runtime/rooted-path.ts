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

/** What lies at a path, itself and not what it leads to; undefined when nothing does. */
export type Look = (path: string) => Stats | undefined;

/** Looks at each path once. For one plan, during which nobody can change what is looked at. */
export function lookOnce(): Look {
  const seen = new Map<string, Stats | undefined>();
  return (path) => {
    if (!seen.has(path)) seen.set(path, lstatOf(path));
    return seen.get(path);
  };
}

/** Follows `path` inside `root`, the last component too. What does not exist is taken as it is written. */
export function resolveInRoot(root: string, path: string, look: Look = lstatOf): RootedPath {
  if (path.includes('\0')) throw new WindlassError('Invalid', `path ${JSON.stringify(path)} holds a NUL`);
  const base = join(root);
  const real: string[] = [];
  const todo = path.split('/').toReversed();
  const here = (): string => (real.length === 0 ? base : `${base === '/' ? '' : base}/${real.join('/')}`);
  let links = 0;
  let isKnown = false;
  let stat: Stats | undefined;
  while (todo.length > 0) {
    const part = todo.pop() as string;
    if (part === '' || part === '.') continue;
    if (part === '..') {
      real.pop();
      isKnown = false;
      continue;
    }
    // Below what is not there lies nothing.
    const isGone = isKnown && stat === undefined;
    real.push(part);
    stat = isGone ? undefined : look(here());
    isKnown = true;
    if (!stat?.isSymbolicLink()) continue;
    links += 1;
    if (links > MAX_LINKS) throw new WindlassError('Invalid', `too many links in path ${JSON.stringify(path)}`);
    const target = readlinkSync(here());
    real.pop();
    if (target.startsWith('/')) real.length = 0;
    todo.push(...target.split('/').toReversed());
    isKnown = false;
  }
  const hostPath = here();
  return { path: `/${real.join('/')}`, hostPath, stat: isKnown ? stat : look(hostPath) };
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
