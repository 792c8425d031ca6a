// Expansion of the variables in a word, and removal of its quotes and escapes, as Docker's shell lexer does it: a part
// of a POSIX shell's expansion, with bash's replacement.
import type { Escape } from './ast.ts';
import { replacePattern, trimPrefix, trimSuffix } from './pattern.ts';
import { Problem } from './problem.ts';
import { isBlank } from './words.ts';

export interface ExpandOptions {
  readonly escape: Escape;
  readonly variables: { get(name: string): string | undefined };
  /** Quotes are plain characters: the content of a here-document. */
  readonly hasPlainQuotes?: boolean;
  /** Quotes and escapes have their meaning, but stay in the result. */
  readonly isRaw?: boolean;
  /** Quotes have their meaning, but stay in the result. */
  readonly keepsQuotes?: boolean;
  /** Expansions of unset variables stay as they are. */
  readonly keepsUnset?: boolean;
  /** Longest result, in UTF-16 units. */
  readonly limit?: number;
}

export interface Expanded {
  readonly text: string;
  /** The result split at blanks that were neither quoted nor escaped. */
  readonly words: readonly string[];
  /** Names that were looked up, found or not; those with a default or an alternative are in neither. */
  readonly used: ReadonlySet<string>;
  readonly unset: ReadonlySet<string>;
}

/** What the kernel takes as one argument or one variable. */
export const MAX_WORD = 131_071;
const PLAIN = /[^\s$<'"\\`/}]+/y;
const MAX_DEPTH = 100;
/** Characters of patterns times characters of values that one word may cost. */
const MAX_PATTERN_WORK = 16 * 1024 * 1024;

/** Expands one word, which may have blanks. Throws Problem. */
export function expand(source: string, options: ExpandOptions): Expanded {
  const { escape, variables, keepsUnset = false, limit = MAX_WORD } = options;
  const isRaw = options.isRaw === true;
  const keepsQuotes = isRaw || options.keepsQuotes === true;
  const used = new Set<string>();
  const unset = new Set<string>();
  let at = 0;
  let depth = 0;
  let patternWork = 0;

  const fail = (problem: string): never => {
    throw new Problem(problem);
  };
  const isAtEnd = (): boolean => at >= source.length;

  /** Up to `stop`, which is taken but not in the result, or to the end. */
  function readUntil(stop: string | undefined, keepsEscapes: boolean): { text: string; words: string[] } {
    const words = createWordList();
    let text = '';
    while (!isAtEnd()) {
      const plain = readPlain();
      words.add(plain);
      text += plain;
      const character = source[at] ?? '';
      if (character === stop) {
        at += 1;
        return { text, words: words.end() };
      }
      let part: string;
      if (character === '$') {
        part = readDollar();
        words.addSplit(part);
      } else if (character === '<') {
        part = readAngle();
        words.add(part);
      } else if ((character === "'" || character === '"') && options.hasPlainQuotes !== true) {
        part = character === '"' ? readDoubleQuoted(keepsEscapes) : readSingleQuoted();
        words.add(part);
      } else if (character === escape) {
        at += 1;
        part = `${keepsEscapes ? escape : ''}${source[at] ?? ''}`;
        at += 1;
        words.add(part);
      } else {
        part = character;
        at += character.length;
        words.addSplit(part);
      }
      text += part;
      if (text.length > limit) fail(`expands to more than ${limit} characters`);
    }
    if (stop !== undefined) fail(`missing ${stop}`);
    return { text, words: words.end() };
  }

  /** What has no meaning in any setting, taken in one go. */
  function readPlain(): string {
    PLAIN.lastIndex = at;
    const plain = PLAIN.exec(source)?.[0] ?? '';
    at += plain.length;
    return plain;
  }

  function readSingleQuoted(): string {
    const end = source.indexOf("'", at + 1);
    if (end === -1) fail('missing closing single quote');
    const start = at;
    at = end + 1;
    return keepsQuotes ? source.slice(start, at) : source.slice(start + 1, end);
  }

  function readDoubleQuoted(keepsEscapes: boolean): string {
    at += 1;
    let text = '';
    while (!isAtEnd()) {
      const character = source[at] ?? '';
      if (character === '"') {
        at += 1;
        return keepsQuotes ? `"${text}"` : text;
      }
      if (character === '$') text += readDollar();
      else if (character !== escape) {
        text += character;
        at += 1;
      } else {
        // Only what has a meaning in double quotes can be escaped; before anything else an escape stands for itself.
        at += 1;
        const next = source[at] ?? '';
        const isEscapable = next === '"' || next === '$' || next === escape;
        if (keepsEscapes) text += escape;
        if (isEscapable) at += 1;
        if (next !== '') text += isEscapable ? next : escape;
      }
      if (text.length > limit) fail(`expands to more than ${limit} characters`);
    }
    return fail('missing closing double quote');
  }

  /** `<<` and blanks behind it are one word with what follows: a here-document may be written so. */
  function readAngle(): string {
    const start = at;
    at += 1;
    if (source[at] !== '<') return '<';
    at += 1;
    while (source[at] === ' ' || source[at] === '\t' || source[at] === '\r') at += 1;
    return source.slice(start, at);
  }

  function readDollar(): string {
    at += 1;
    if (source[at] !== '{') {
      const name = readName();
      if (name === '') return '$';
      const value = lookUp(name, true);
      return value ?? (keepsUnset ? `$${name}` : '');
    }
    at += 1;
    if (isAtEnd()) fail('missing }');
    if (/[{}:]/.test(source[at] ?? '')) fail('bad substitution');
    depth += 1;
    if (depth > MAX_DEPTH) fail(`expansions are nested more than ${MAX_DEPTH} deep`);
    const value = readBraces(readName());
    depth -= 1;
    return value;
  }

  /** What is between the name of a braced expansion and its end. */
  function readBraces(name: string): string {
    if (isAtEnd()) fail('missing }');
    const isColon = source[at] === ':';
    if (isColon) at += 1;
    const operator = source[at] ?? '';
    at += 1;
    if (isColon && !/[-+?]/.test(operator)) fail(`unsupported modifier :${operator}`);
    switch (operator) {
      case '}':
        return lookUp(name, true) ?? (keepsUnset ? `\${${name}}` : '');
      case '-':
      case '+':
      case '?': {
        const word = readUntil('}', isRaw).text;
        const value = lookUp(name, false);
        if (value === undefined && keepsUnset) return `\${${name}${isColon ? ':' : ''}${operator}${word}}`;
        const isThere = value !== undefined && !(isColon && value === '');
        if (operator === '-') return isThere ? value : word;
        if (operator === '+') return isThere ? word : '';
        if (isThere) return value;
        return fail(`${name}: ${word || `must not be ${value === undefined ? 'unset' : 'empty'}`}`);
      }
      case '#':
      case '%': {
        const written = readUntil('}', true).text;
        const value = lookUp(name, true);
        if (value === undefined) return keepsUnset ? `\${${name}${operator}${written}}` : '';
        const isLongest = written.startsWith(operator);
        const pattern = isLongest ? written.slice(1) : written;
        const trim = operator === '#' ? trimPrefix : trimSuffix;
        return match(value, pattern, () => trim(value, pattern, isLongest));
      }
      case '/': {
        const isGlobal = source[at] === '/';
        if (isGlobal) at += 1;
        const pattern = readUntil('/', true).text;
        const replacement = readUntil('}', true).text;
        const value = lookUp(name, true);
        if (value === undefined) {
          return keepsUnset ? `\${${name}${isGlobal ? '//' : '/'}${pattern}/${replacement}}` : '';
        }
        return match(value, pattern, () => replacePattern(value, pattern, replacement, isGlobal));
      }
      default:
        return fail(operator === '' ? 'missing }' : `unsupported modifier ${operator}`);
    }
  }

  function match(value: string, pattern: string, run: () => string): string {
    patternWork += (value.length + 1) * (pattern.length + 1);
    if (patternWork > MAX_PATTERN_WORK) fail('too much to match patterns against');
    return run();
  }

  function readName(): string {
    const rest = source.slice(at, at + 1);
    const pattern = /[0-9]/.test(rest) ? /[0-9]+/y : /[@*#?$!-]|[\p{L}\p{Nd}_]+/uy;
    pattern.lastIndex = at;
    const name = pattern.exec(source)?.[0] ?? '';
    at += name.length;
    return name;
  }

  function lookUp(name: string, isRequired: boolean): string | undefined {
    const value = variables.get(name);
    if (isRequired) (value === undefined ? unset : used).add(name);
    return value;
  }

  const { text, words } = readUntil(undefined, isRaw);
  return { text, words, used, unset };
}

/** Gathers words: blanks in what is added split part them. */
function createWordList(): { add(text: string): void; addSplit(text: string): void; end(): string[] } {
  const words: string[] = [];
  let word = '';
  const end = (): string[] => {
    if (word !== '') words.push(word);
    word = '';
    return words;
  };
  return {
    add(text) {
      word += text;
    },
    addSplit(text) {
      for (const character of text) {
        if (isBlank(character)) end();
        else word += character;
      }
    },
    end,
  };
}
