// Everything below a folder of a tree that is taken, sorted bytewise folder by folder. Folders are opened one from the
// other (source-path.ts), and a folder that is left out appears all the same once something below it is taken.
import { closeSync, fstatSync, readdirSync, type BigIntStats } from 'node:fs';
import { WindlassError } from '../../lib/errors.ts';
import { nativePath } from '../../oci/layers/file-system-calls.ts';
import type { FolderMatch, IgnoreRules } from './ignore.ts';
import { lookAt, openFolder, readLink, textOf, type OpenedSource } from './source-path.ts';

/** As for archives (rooted-paths.ts); each level keeps a folder open. */
const MAX_DEPTH = 1000;

/** Something that decides about paths: rules that leave out what they match, or take nothing else. */
export interface PathFilter {
  readonly rules: IgnoreRules;
  /** What the rules see in front of a path below the folder that is walked: '' or text that ends in `/`. */
  readonly prefix: string;
  readonly takesMatches: boolean;
}

export interface Found {
  /** Below the folder that is walked; byte string. */
  readonly path: string;
  /** Leads to it while the walk stands there. */
  readonly openPath: string;
  readonly stat: BigIntStats;
  /** Of a symbolic link. */
  readonly linkName?: string;
}

interface Level {
  readonly fd: number | undefined;
  readonly openPath: string;
  /** '' or ending in `/`. */
  readonly prefix: string;
  readonly matches: readonly FolderMatch[];
  /** Last first. */
  readonly todo: string[];
  /** The folder itself, until something in it is taken. */
  pending: Found | undefined;
}

/**
 * Walks the opened folder. What vanishes meanwhile is left out; links are never followed. `onFolder` is told of a folder
 * before its names are read.
 */
export function* walkSource(
  source: OpenedSource,
  filters: readonly PathFilter[],
  onFolder?: (stat: BigIntStats) => void,
): Generator<Found> {
  const levels: Level[] = [];
  const enter = (level: Omit<Level, 'todo'>, stat: BigIntStats): void => {
    // From here on it is closed whatever happens.
    const entered = { ...level, todo: [] as string[] };
    levels.push(entered);
    if (levels.length > MAX_DEPTH) {
      throw new WindlassError(
        'Invalid',
        `folders are nested deeper than ${MAX_DEPTH}: ${textOf(level.prefix.slice(0, 100))}...`,
      );
    }
    onFolder?.(stat);
    entered.todo = readdirSync(nativePath(level.openPath), { encoding: 'latin1' }).toSorted().reverse();
  };
  try {
    const matches = filters.map(topOf);
    enter({ fd: undefined, openPath: source.path, prefix: '', matches, pending: undefined }, source.stat);
    for (let level = levels.at(-1); level; level = levels.at(-1)) {
      const name = level.todo.pop();
      if (name === undefined) {
        levels.pop();
        if (level.fd !== undefined) closeSync(level.fd);
        continue;
      }
      const path = `${level.prefix}${name}`;
      const { isTaken, mayHoldTaken, matches: below } = decide(filters, textOf(path), level.matches);
      if (!isTaken && !mayHoldTaken) continue;
      const openPath = `${level.openPath}/${name}`;
      const stat = lookAt(openPath);
      if (stat === undefined || (!isTaken && !stat.isDirectory())) continue;
      const fd = stat.isDirectory() ? openFolder(openPath) : undefined;
      if (stat.isDirectory() && fd === undefined) continue;
      if (fd !== undefined) {
        const inside = `/proc/self/fd/${fd}`;
        const opened = fstatSync(fd, { bigint: true });
        // With a dot at its end, the folder and not the link in /proc is meant by calls that do not follow links.
        const pending = { path, openPath: `${inside}/.`, stat: opened };
        enter({ fd, openPath: inside, prefix: `${path}/`, matches: below, pending }, opened);
      }
      if (!isTaken || stat.isSocket()) continue;
      for (const above of levels) {
        if (above.pending) yield above.pending;
        above.pending = undefined;
      }
      if (fd !== undefined) continue;
      yield stat.isSymbolicLink() ? { path, openPath, stat, linkName: readLink(openPath) } : { path, openPath, stat };
    }
  } finally {
    for (const { fd } of levels) if (fd !== undefined) closeSync(fd);
  }
}

/** What is known of the folder that a walk begins in. */
function topOf({ rules, prefix }: PathFilter): FolderMatch {
  let match = rules.top;
  const parts = prefix.split('/').filter(Boolean);
  for (let depth = 1; depth <= parts.length; depth += 1) {
    match = rules.match(parts.slice(0, depth).join('/'), match).match;
  }
  return match;
}

function decide(
  filters: readonly PathFilter[],
  path: string,
  above: readonly FolderMatch[],
): { isTaken: boolean; mayHoldTaken: boolean; matches: readonly FolderMatch[] } {
  let isTaken = true;
  let mayHoldTaken = true;
  const matches = filters.map(({ rules, prefix, takesMatches }, index) => {
    const full = `${prefix}${path}`;
    const { isIgnored, match } = rules.match(full, above[index] as FolderMatch);
    if (isIgnored === takesMatches) return match;
    isTaken = false;
    if (takesMatches ? !rules.mayMatchBelow(full) : !rules.mayKeepBelow(full)) mayHoldTaken = false;
    return match;
  });
  return { isTaken, mayHoldTaken, matches };
}
