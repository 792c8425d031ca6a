// Wildcard patterns of Dockerfiles and .dockerignore files: those of Go's path/filepath.Match, and `**` for the latter.
// Matched by following all possibilities at once, so that no pattern takes longer than its length times the text's.
import { WindlassError } from '../../lib/errors.ts';

type Token =
  | { readonly kind: 'character'; readonly code: number }
  /** `[a-z]`, or `[^a-z]`. */
  | { readonly kind: 'class'; readonly isNegated: boolean; readonly ranges: readonly (readonly [number, number])[] }
  /** `?`: one character but `/`. */
  | { readonly kind: 'one' }
  /** `*`: any number of characters but `/`. */
  | { readonly kind: 'some' }
  /** `**` with a `/` after it or something else: nothing, or anything that ends in `/`. */
  | { readonly kind: 'folders' }
  /** `**` at the end: anything. */
  | { readonly kind: 'rest' };

const SLASH = 47;

/** True when `text` is taken for a pattern: it has a wildcard that no backslash takes back. */
export function hasWildcard(text: string): boolean {
  return /[*?[]/.test(text.replaceAll(/\\[^]/gu, ''));
}

/** `text` without the backslashes that keep characters from being wildcards. */
export function literalOf(text: string): string {
  return text.replaceAll(/\\([^])/gu, '$1');
}

/**
 * Compiles `pattern`; the result tells whether a whole path matches. Throws Invalid for bad syntax: an open `[`, an
 * empty or incomplete range, a backslash at the end.
 */
export function compilePattern(pattern: string, options: { readonly isGlobstar: boolean }): (path: string) => boolean {
  const tokens = parse(pattern, options.isGlobstar);
  return (path) => matches(tokens, path);
}

function parse(pattern: string, isGlobstar: boolean): Token[] {
  const characters = Array.from(pattern);
  const tokens: Token[] = [];
  let at = 0;
  const bad = (problem: string): WindlassError =>
    new WindlassError('Invalid', `invalid pattern ${JSON.stringify(pattern)}: ${problem}`);

  function literal(what: string): number {
    const character = characters[at];
    if (character === undefined) throw bad(`${what} is not complete`);
    at += 1;
    if (character !== '\\') return character.codePointAt(0) as number;
    const next = characters[at];
    if (next === undefined) throw bad('nothing follows the last backslash');
    at += 1;
    return next.codePointAt(0) as number;
  }

  function bound(): number {
    if (characters[at] === '-' || characters[at] === ']') throw bad('a range between [ and ] is not complete');
    return literal('what [ begins');
  }

  function characterClass(): Token {
    const isNegated = characters[at] === '^';
    if (isNegated) at += 1;
    const ranges: [number, number][] = [];
    while (characters[at] !== ']' || ranges.length === 0) {
      const low = bound();
      if (characters[at] !== '-') {
        ranges.push([low, low]);
        continue;
      }
      at += 1;
      ranges.push([low, bound()]);
    }
    at += 1;
    return { kind: 'class', isNegated, ranges };
  }

  while (at < characters.length) {
    const character = characters[at];
    if (character === '*' && isGlobstar && characters[at + 1] === '*') {
      at += characters[at + 2] === '/' ? 3 : 2;
      tokens.push({ kind: at >= characters.length ? 'rest' : 'folders' });
    } else if (character === '*') {
      at += 1;
      tokens.push({ kind: 'some' });
    } else if (character === '?') {
      at += 1;
      tokens.push({ kind: 'one' });
    } else if (character === '[') {
      at += 1;
      tokens.push(characterClass());
    } else {
      tokens.push({ kind: 'character', code: literal('it') });
    }
  }
  return tokens;
}

function matches(tokens: readonly Token[], path: string): boolean {
  // Which tokens may come next; those that may match nothing let the one after them come as well.
  let now = new Uint8Array(tokens.length + 1);
  let next = new Uint8Array(tokens.length + 1);
  // In the middle of a `**`, which ends after some `/`.
  const inside = new Uint8Array(tokens.length + 1);
  const reach = (set: Uint8Array, from: number): void => {
    for (let index = from; index <= tokens.length; index += 1) {
      set[index] = 1;
      const kind = tokens[index]?.kind;
      if (kind !== 'some' && kind !== 'folders' && kind !== 'rest') return;
    }
  };
  reach(now, 0);
  for (let at = 0; at < path.length;) {
    const code = path.codePointAt(at) as number;
    at += code > 0xffff ? 2 : 1;
    next.fill(0);
    let isAlive = false;
    for (let index = 0; index < tokens.length; index += 1) {
      const token = tokens[index] as Token;
      if (token.kind === 'folders') {
        if (!now[index] && !inside[index]) continue;
        inside[index] = 1;
        isAlive = true;
        if (code === SLASH) reach(next, index + 1);
      } else if (now[index]) {
        if (token.kind === 'some' ? code !== SLASH : token.kind === 'rest') reach(next, index);
        else if (token.kind !== 'some' && takes(token, code)) reach(next, index + 1);
        else continue;
        isAlive = true;
      }
    }
    if (!isAlive) return false;
    [now, next] = [next, now];
  }
  return now[tokens.length] === 1;
}

function takes(token: Token, code: number): boolean {
  switch (token.kind) {
    case 'character':
      return token.code === code;
    case 'one':
      return code !== SLASH;
    case 'class':
      return token.ranges.some(([low, high]) => code >= low && code <= high) !== token.isNegated;
    default:
      return false;
  }
}
