// Where an archive's names land below a root that only we write to. Every parent directory is resolved inside the
// root, links included (an absolute link starts again at the root), and the last component is never followed.
import { lchownSync, lstatSync, mkdirSync, readlinkSync, unlinkSync, type Stats } from 'node:fs';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { nativePath } from './file-system-calls.ts';

const MAX_LINKS = 255;
const MAX_DEPTH = 1000;

/** Splits an archive's name into components; `..` that climbs out of the root is refused. Empty = the root itself. */
export function splitEntryName(name: string): string[] {
  const parts: string[] = [];
  for (const part of name.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      if (parts.length === 0) {
        throw new WindlassError('Invalid', `invalid tar: entry ${shown(name)} leaves the root`);
      }
      parts.pop();
    } else {
      if (part.length > 255) throw new WindlassError('Invalid', `invalid tar: a name in ${shown(name)} is too long`);
      parts.push(part);
    }
  }
  if (parts.length > MAX_DEPTH) throw new WindlassError('Invalid', `invalid tar: entry ${shown(name)} is too deep`);
  return parts;
}

export interface RootedPaths {
  /**
   * The real path of the directory named by `parts`, with links resolved inside the root; missing directories are
   * made and reported to `onImplicit`. Anything on the way that is neither directory nor link is replaced.
   */
  directory(parts: readonly string[]): string;
  /** Like directory(), but makes nothing: undefined when it is not there. */
  existing(parts: readonly string[]): string | undefined;
  /** `path` is a directory just made below a directory() of `parts` without its last one. */
  remember(parts: readonly string[], path: string): void;
  /** A link or directory changed: what was resolved before may be wrong now. */
  forget(): void;
}

/** Resolves below `root` (byte string); `onImplicit` gets the path below the root of each directory made. */
export function createRootedPaths(root: string, onImplicit: (relativePath: string) => void): RootedPaths {
  let cache = new Map<string, string>();

  function resolve(parts: readonly string[], create: boolean): string | undefined {
    const key = parts.join('/');
    const cached = cache.get(key);
    if (cached !== undefined) return cached;
    // Most often only the last component is new.
    const above = parts.length > 1 ? cache.get(parts.slice(0, -1).join('/')) : undefined;
    const real: string[] = above === undefined || above === root ? [] : above.slice(root.length + 1).split('/');
    const todo = above === undefined ? parts.toReversed() : parts.slice(-1);
    let links = 0;
    while (todo.length > 0) {
      const part = todo.pop() as string;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        real.pop();
        continue;
      }
      const path = [root, ...real, part].join('/');
      const stat = lstatOf(path);
      if (stat?.isSymbolicLink()) {
        links += 1;
        if (links > MAX_LINKS) throw new WindlassError('Invalid', `invalid tar: too many links in ${shown(key)}`);
        const target = readlinkSync(nativePath(path), { encoding: 'latin1' });
        if (target.startsWith('/')) real.length = 0;
        todo.push(...target.split('/').toReversed());
        if (todo.length > MAX_DEPTH * 2) throw new WindlassError('Invalid', `invalid tar: ${shown(key)} is too deep`);
        continue;
      }
      if (!stat?.isDirectory()) {
        if (!create) return undefined;
        if (stat !== undefined) unlinkSync(nativePath(path));
        mkdirSync(nativePath(path), 0o755);
        lchownSync(nativePath(path), 0, 0);
        onImplicit([...real, part].join('/'));
      }
      real.push(part);
    }
    const result = [root, ...real].join('/');
    keep(key, result);
    return result;
  }

  function keep(key: string, path: string): void {
    // Bounded, so that a million directories do not stay in memory.
    if (cache.size > 4096) cache = new Map();
    cache.set(key, path);
  }

  return {
    directory: (parts) => resolve(parts, true) as string,
    existing: (parts) => resolve(parts, false),
    remember: (parts, path) => keep(parts.join('/'), path),
    forget() {
      cache = new Map();
    },
  };
}

/** lstat of a byte string; undefined when nothing is there. */
export function lstatOf(path: string): Stats | undefined {
  try {
    return lstatSync(nativePath(path), { throwIfNoEntry: false });
  } catch (error) {
    if (errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

function shown(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}...` : name);
}
