// A COPY or ADD whose sources are all on this machine, looked up: what is copied, and the digest of it. Runs on whichever
// thread has the time (builder-files.ts is the contract, create-builder-files.ts the choice).
import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import type { Digest } from '../../oci/digest.ts';
import { bytePath, type FileSystemCalls } from '../../oci/layers/file-system-calls.ts';
import type { CopyOperation } from '../operations.ts';
import type { SourceTree } from './builder-files.ts';
import { parseChmod, type ModeChange } from './chmod.ts';
import type { ContentMemo } from './content-memo.ts';
import type { CopyPlan, PlannedEntry, PlannedSource } from './copy-plan.ts';
import { expandPattern } from './expand-pattern.ts';
import { createIgnoreRules, parseIgnoreFile, type IgnoreRules } from './ignore.ts';
import { hasWildcard } from './pattern.ts';
import { createEntryReader } from './planned-entry.ts';
import { createContentReader } from './read-content.ts';
import { openSource, partsOf, textOf, type OpenedSource } from './source-path.ts';
import { walkSource, type Found, type PathFilter } from './walk-source.ts';

/** Reading so many bytes of a file takes as long as reading one byte of a folder. */
const FOLDER_WEIGHT = 16;

/** One source of the operation and where it is. */
export interface SourceRequest {
  readonly tree: SourceTree;
  /** As in the Dockerfile, or what was made of a URL. */
  readonly pattern: string;
  /** Whether it is unpacked when it is an archive. */
  readonly isUnpacked: boolean;
}

export interface PlanContext {
  readonly calls: FileSystemCalls;
  readonly memo: ContentMemo;
  /** Told of each entry, and of the bytes of each file before they are read. May throw to end the search. */
  readonly onWork: (entries: number, bytes: number) => void;
  /** Asked after each entry; what it returns is waited for, so that others get their turn. */
  readonly pause?: () => Promise<void> | undefined;
}

export interface PlannedCopy {
  readonly digest: Digest;
  readonly newestSeconds: number | undefined;
  readonly entries: number;
  readonly sizeBytes: number;
  readonly plan: CopyPlan;
}

/** Looks up `sources`. Throws Invalid for one that is missing, ignored or outside, Conflict for one that is changing. */
export async function planCopy(
  operation: CopyOperation,
  sources: readonly SourceRequest[],
  context: PlanContext,
): Promise<PlannedCopy> {
  checkDestination(operation);
  const chmod = operation.chmod === undefined ? undefined : parseChmod(operation.chmod);
  const planner = createPlanner(operation, chmod, context);
  const planned: PlannedSource[] = [];
  for (const source of sources) planned.push(...(await planner.plan(source)));
  if (planned.length === 0 && operation.files.length === 0) throw nothingToCopy(sources);
  const files = operation.files.map(({ name, content }) => ({
    name,
    content,
    mode: chmod ? chmod(0o644, false) : 0o644,
  }));
  for (const { name, content, mode } of files) planner.add('inline', [name, mode, content]);
  const { destination, chown } = operation;
  const plan = { destination, ...(chown === undefined ? {} : { chown }), sources: planned, files };
  return { ...planner.finish(), plan };
}

/** Throws Invalid where several sources would become one file. */
function checkDestination({ instruction, sources, files, destination }: CopyOperation): void {
  if (sources.length + files.length <= 1 || destination.endsWith('/')) return;
  throw new WindlassError(
    'Invalid',
    `${instruction} of several sources to ${JSON.stringify(destination)}: the destination has to end with a /`,
  );
}

interface Planner {
  plan(source: SourceRequest): Promise<PlannedSource[]>;
  /** Puts words into the digest. */
  add(kind: string, words: readonly (string | number)[]): void;
  finish(): Omit<PlannedCopy, 'plan'>;
}

function createPlanner(operation: CopyOperation, chmod: ModeChange | undefined, context: PlanContext): Planner {
  const hash = createHash('sha256');
  const reader = createContentReader(context.memo, context.calls, (bytes) => context.onWork(0, bytes));
  const excludes = createIgnoreRules(parseIgnoreFile(operation.exclude.join('\n')));
  const isExcluding = operation.exclude.length > 0;
  // What a folder takes on disk is the names in it, which are read all at once.
  const onFolder = ({ size }: BigIntStats): void => context.onWork(0, Math.max(0, Number(size) - 4096) * FOLDER_WEIGHT);
  const total = { newestSeconds: undefined as number | undefined, entries: 0, sizeBytes: 0 };

  function add(kind: string, words: readonly (string | number)[]): void {
    // Each word with its length, so that no two lists of words look the same.
    hash.update(`${kind} ${words.map((word) => `${String(word).length}:${word}`).join(' ')}\n`, 'latin1');
  }

  function addEntry(entry: PlannedEntry, hasTimes: boolean): void {
    const { type, path, mode, uid, gid, sha256 = '', linkName = '', major = 0, minor = 0, xattrs = [] } = entry;
    add(type, [path, mode, uid, gid, sha256, linkName, major, minor]);
    for (const [name, value] of xattrs) add('xattr', [name, Buffer.from(value).toString('latin1')]);
    total.entries += 1;
    total.sizeBytes += entry.sizeBytes ?? 0;
    if (hasTimes) total.newestSeconds = Math.max(total.newestSeconds ?? entry.mtimeSeconds, entry.mtimeSeconds);
  }

  async function plan(source: SourceRequest): Promise<PlannedSource[]> {
    const rules = compileIgnored(source.tree);
    if (operation.parents) return await planParents(source, rules);
    const planned: PlannedSource[] = [];
    const isPattern = hasWildcard(source.pattern);
    for (const parts of expandPattern(source.tree, rules, source.pattern, onFolder)) {
      using opened = openSource(source.tree, rules, parts);
      const name = parts.at(-1) ?? '';
      if (!opened || opened.stat.isSocket()) {
        if (isPattern) continue;
        throw missing(source, parts);
      }
      // Patterns for what is inside a folder also leave out what is named by itself.
      if (!opened.stat.isDirectory() && isExcluding && excludes.isIgnored(textOf(name))) continue;
      const one = await planOpened(source, rules, opened, name, []);
      const isHidden = one.isDirectory && one.entries.length === 0 && isLeftOut(rules, opened.parts);
      if (!isHidden) planned.push(one);
      else if (!isPattern) throw missing(source, parts);
    }
    return planned;
  }

  /** `--parents`: what is below the folder in front of `/./` and matches the rest, which keeps its own folders. */
  async function planParents(source: SourceRequest, rules: IgnoreRules): Promise<PlannedSource[]> {
    const [, before = '/', rest = ''] = /^(?:(.*?)\/\.\/)?(.*)$/s.exec(source.pattern) ?? [];
    const wanted = partsOf(source.tree, rest).join('/');
    const include = createIgnoreRules([wanted === '' ? '**' : wanted]);
    const planned: PlannedSource[] = [];
    for (const parts of expandPattern(source.tree, rules, before, onFolder)) {
      using opened = openSource(source.tree, rules, parts);
      if (!opened?.stat.isDirectory()) continue;
      const one = await planOpened(source, rules, opened, '', [{ rules: include, prefix: '', takesMatches: true }]);
      if (one.entries.length > 0) planned.push(one);
    }
    if (planned.length === 0 && !hasWildcard(source.pattern))
      throw missing(source, partsOf(source.tree, source.pattern).map(bytePath));
    return planned;
  }

  async function planOpened(
    source: SourceRequest,
    rules: IgnoreRules,
    opened: OpenedSource,
    name: string,
    includes: readonly PathFilter[],
  ): Promise<PlannedSource> {
    const { tree, pattern, isUnpacked } = source;
    const isDirectory = opened.stat.isDirectory();
    const origin = [bytePath(tree.root), ...opened.parts].join('/');
    add(isDirectory ? 'folder' : 'single', [isDirectory ? '' : name]);
    const entries: PlannedEntry[] = [];
    const describe = createEntryReader({
      calls: context.calls,
      tree,
      chmod,
      contents: reader,
    });
    const take = (found: Found): Promise<void> | undefined => {
      context.onWork(1, 0);
      const entry = describeNow(describe, found);
      entries.push(entry);
      addEntry(entry, tree.times !== 'none');
      return context.pause?.();
    };
    if (isDirectory) {
      const at = textOf(opened.parts.map((part) => `${part}/`).join(''));
      const filters: PathFilter[] = [{ rules, prefix: at, takesMatches: false }, ...includes];
      if (isExcluding) filters.push({ rules: excludes, prefix: '', takesMatches: false });
      for (const found of walkSource(opened, filters, onFolder)) {
        const waiting = take(found);
        if (waiting) await waiting;
      }
    } else {
      await take({ path: '', openPath: opened.path, stat: opened.stat });
    }
    return {
      label: pattern,
      origin,
      isContext: tree.isContext,
      name,
      isDirectory,
      isUnpacked: isUnpacked && opened.stat.isFile(),
      entries,
    };
  }

  return {
    plan,
    add,
    finish: () => ({ ...total, digest: `sha256:${hash.digest('hex')}` as Digest }),
  };
}

/** What was there a moment ago and is not now is being changed, which whoever does that can be told. */
function describeNow(describe: (found: Found) => PlannedEntry, found: Found): PlannedEntry {
  try {
    return describe(found);
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) throw error;
    const name = JSON.stringify(textOf(found.path));
    throw new WindlassError('Conflict', `${name} was changed while it was read`, { cause: error });
  }
}

function compileIgnored({ ignore, ignoreFile = 'the ignore file' }: SourceTree): IgnoreRules {
  try {
    return createIgnoreRules(ignore);
  } catch (error) {
    if (!(error instanceof WindlassError)) throw error;
    throw new WindlassError('Invalid', `${ignoreFile}: ${error.message}`, { cause: error });
  }
}

function isLeftOut(rules: IgnoreRules, parts: readonly string[]): boolean {
  return parts.length > 0 && rules.isIgnored(textOf(parts.join('/')));
}

function missing({ tree, pattern }: SourceRequest, parts: readonly string[]): WindlassError {
  using there = openSource(tree, createIgnoreRules([]), parts);
  const leftOut = `: it is left out by ${tree.ignoreFile ?? 'the ignore file'}`;
  const why = there === undefined ? '' : there.stat.isSocket() ? ': it is a socket' : leftOut;
  return new WindlassError('Invalid', `source ${JSON.stringify(pattern)} is not in ${tree.label}${why}`);
}

function nothingToCopy(sources: readonly SourceRequest[]): WindlassError {
  const patterns = sources.map(({ pattern }) => JSON.stringify(pattern)).join(', ');
  return new WindlassError('Invalid', `nothing in ${sources[0]?.tree.label ?? 'the sources'} matches ${patterns}`);
}
