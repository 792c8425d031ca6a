// .dockerignore and --exclude: which paths of a tree are left out. The rules are those of moby/patternmatcher, with its
// oddities, since contexts are written against them.
import { posix } from 'node:path';
import { WindlassError } from '../../lib/errors.ts';
import { compilePattern } from './pattern.ts';

const MAX_FILE_BYTES = 4 * 1024 * 1024;
const MAX_PATTERNS = 10_000;

/** What is known of a folder that a walk goes through: for each pattern whether it matched the folder or one above. */
export type FolderMatch = readonly boolean[];

export interface IgnoreRules {
  /** Where a walk begins. */
  readonly top: FolderMatch;
  /** Whether `path` (without a slash at its ends) is left out, given what is known of the folder it is in. */
  match(path: string, folder: FolderMatch): { readonly isIgnored: boolean; readonly match: FolderMatch };
  /** The same for a path by itself. */
  isIgnored(path: string): boolean;
  /** False when nothing below the ignored folder `path` is taken in again. */
  mayKeepBelow(path: string): boolean;
  /** False when no pattern can match anything below the folder `path`, which itself is not matched. */
  mayMatchBelow(path: string): boolean;
}

interface Rule {
  readonly isException: boolean;
  readonly text: string;
  readonly matches: (path: string) => boolean;
}

/** The patterns of a .dockerignore file: without comments, empty lines, spaces around and a slash in front. */
export function parseIgnoreFile(text: string): string[] {
  if (text.length > MAX_FILE_BYTES) {
    throw new WindlassError('Invalid', `it has ${text.length} characters, the limit is ${MAX_FILE_BYTES}`);
  }
  const patterns: string[] = [];
  for (const line of text.replace(/^\ufeff/, '').split('\n')) {
    if (line.startsWith('#')) continue;
    const trimmed = line.trim();
    if (trimmed === '') continue;
    const isException = trimmed.startsWith('!');
    const pattern = isException ? trimmed.slice(1).trim() : trimmed;
    const cleaned = pattern === '' ? '' : cleanPath(pattern).replace(/^\/(?=.)/, '');
    patterns.push(isException ? `!${cleaned}` : cleaned);
  }
  return patterns;
}

/** Compiles patterns, of which the last one that matches decides. Throws Invalid for one that is none. */
export function createIgnoreRules(patterns: readonly string[]): IgnoreRules {
  if (patterns.length > MAX_PATTERNS) {
    throw new WindlassError('Invalid', `it has ${patterns.length} patterns, the limit is ${MAX_PATTERNS}`);
  }
  const rules = patterns
    .map((pattern) => pattern.trim())
    .flatMap((pattern) => (pattern === '' ? [] : [compile(pattern)]));
  const exceptions = rules.filter(({ isException }) => isException);
  const top: FolderMatch = rules.map(() => false);

  function match(path: string, folder: FolderMatch): { isIgnored: boolean; match: FolderMatch } {
    let isIgnored = false;
    const own = rules.map((rule, index) => {
      // What matches a folder matches all below it. A rule that would change nothing is not looked at, and so does not
      // count as a match for what is below either.
      const isMatch = folder[index] === true || (rule.isException === isIgnored && rule.matches(path));
      if (isMatch) isIgnored = !rule.isException;
      return isMatch;
    });
    return { isIgnored, match: own };
  }

  return {
    top,
    match,
    isIgnored(path) {
      const parts = path.split('/');
      let result = { isIgnored: false, match: top };
      for (let depth = 1; depth <= parts.length; depth += 1) {
        result = match(parts.slice(0, depth).join('/'), result.match);
      }
      return result.isIgnored;
    },
    mayKeepBelow: (path) => exceptions.some((rule) => mayBeBelow(rule, path)),
    mayMatchBelow: (path) => rules.some((rule) => !rule.isException && mayBeBelow(rule, path)),
  };
}

const mayBeBelow = ({ text }: Rule, path: string): boolean => /[*?[\\]/.test(text) || text.startsWith(`${path}/`);

function compile(pattern: string): Rule {
  const cleaned = cleanPath(pattern);
  const isException = cleaned.startsWith('!');
  const text = isException ? cleaned.slice(1) : cleaned;
  if (text === '') throw new WindlassError('Invalid', 'invalid pattern "!": it excepts nothing');
  const compiled = compilePattern(text, { isGlobstar: true });
  return { isException, text, matches: shortcutOf(text) ?? compiled };
}

/** Patterns with a `**` at one end and nothing special else are compared as text, to which `**` may end inside a name. */
function shortcutOf(text: string): ((path: string) => boolean) | undefined {
  if (!/[*?[\]\\]/.test(text)) return (path) => path === text;
  const [, before, head, tail] = /^(\*\*)?([^*?[\]\\]*)(\*\*\/?)?$/.exec(text) ?? [];
  if (head === undefined || (before !== undefined && tail !== undefined)) return undefined;
  if (before === undefined) return (path) => path.startsWith(head);
  return (path) => path.endsWith(head) || (head.startsWith('/') && path === head.slice(1));
}

/** Go's filepath.Clean. */
export function cleanPath(path: string): string {
  const normal = posix.normalize(path);
  return normal.length > 1 ? normal.replace(/\/$/, '') : normal;
}
