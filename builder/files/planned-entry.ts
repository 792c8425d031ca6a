// What a walk finds, as an entry of a plan.
import type { BigIntStats } from 'node:fs';
import type { FileSystemCalls } from '../../oci/layers/file-system-calls.ts';
import { keptXattrs } from '../../oci/layers/kept-xattrs.ts';
import { deviceNumbers, wholeSeconds } from '../../oci/layers/stat-fields.ts';
import type { SourceTree } from './builder-files.ts';
import type { ModeChange } from './chmod.ts';
import { identityOf } from './content-memo.ts';
import type { PlannedEntry } from './copy-plan.ts';
import type { ContentReader } from './read-content.ts';
import type { Found } from './walk-source.ts';

export interface EntryOptions {
  readonly calls: FileSystemCalls;
  /** Says what becomes of owners, modes and times. */
  readonly tree: SourceTree;
  readonly chmod?: ModeChange | undefined;
  /** Reads what files hold; absent = that does not matter. */
  readonly contents?: ContentReader;
}

/** A function that describes one thing found after the other, and knows hard links among them. */
export function createEntryReader(options: EntryOptions): (found: Found) => PlannedEntry {
  const { tree } = options;
  const linked = new Map<string, string>();

  function xattrsOf(path: string): { xattrs?: [string, Buffer][] } {
    const xattrs = [...keptXattrs(options.calls.readXattrs(path))];
    return xattrs.length === 0 ? {} : { xattrs };
  }

  function file(openPath: string, stat: BigIntStats): Partial<PlannedEntry> {
    if (!options.contents)
      return { sizeBytes: Number(stat.size), identity: identityOf(stat, tree.isContext), ...xattrsOf(openPath) };
    const {
      sha256,
      hasXattrs,
      identity,
      isFresh,
      stat: opened,
    } = options.contents.read(openPath, stat, tree.isContext);
    const known = { sizeBytes: Number(opened.size), identity, sha256, ...(hasXattrs ? xattrsOf(openPath) : {}) };
    return isFresh ? { ...known, isFresh } : known;
  }

  return ({ path, openPath, stat, linkName }) => {
    const common = {
      path,
      mode: modeOf(stat, options),
      uid: tree.isContext ? 0 : Number(stat.uid),
      gid: tree.isContext ? 0 : Number(stat.gid),
      mtimeSeconds: timeOf(stat, tree),
    };
    if (stat.isDirectory()) return { ...common, ...xattrsOf(openPath), type: 'directory' };
    const inode = `${stat.dev}:${stat.ino}`;
    const first = stat.nlink > 1n ? linked.get(inode) : undefined;
    if (first !== undefined) return { ...common, type: 'hardlink', linkName: first };
    if (stat.nlink > 1n) linked.set(inode, path);
    // Links cannot have attributes of the kinds that are kept.
    if (linkName !== undefined) return { ...common, type: 'symlink', linkName };
    if (stat.isFile()) return { ...common, ...file(openPath, stat), type: 'file' };
    if (stat.isFIFO()) return { ...common, type: 'fifo' };
    return { ...common, type: stat.isBlockDevice() ? 'block' : 'char', ...deviceNumbers(stat.rdev) };
  };
}

function timeOf(stat: BigIntStats, { times }: SourceTree): number {
  if (times === 'none') return Math.floor(Date.now() / 1000);
  return times ?? wholeSeconds(stat.mtimeNs);
}

function modeOf(stat: BigIntStats, { tree, chmod }: EntryOptions): number {
  if (stat.isSymbolicLink()) return 0o777;
  const own = Number(stat.mode) & 0o7777;
  const mode = !tree.hasGitModes ? own : stat.isDirectory() || (own & 0o111) !== 0 ? 0o755 : 0o644;
  return chmod ? chmod(mode, stat.isDirectory()) : mode;
}
