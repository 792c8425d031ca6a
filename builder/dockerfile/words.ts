// Splitting of an instruction's text into words, as each kind of instruction does it. Nothing is expanded here.
import type { Escape } from './ast.ts';

export interface Word {
  readonly text: string;
  /** Of its first character in the text that was split. */
  readonly offset: number;
}

/** What Docker takes for blanks between words where quotes mean nothing. */
const BLANKS = /[\t\v\f\r ]+/g;

/** Words between blanks. Quotes do not hold blanks together here: that is what the JSON form is for. */
export function splitBlanks(text: string): Word[] {
  const words: Word[] = [];
  let start = 0;
  for (const { 0: blanks, index } of text.matchAll(BLANKS)) {
    if (index > start) words.push({ text: text.slice(start, index), offset: start });
    start = index + blanks.length;
  }
  if (start < text.length) words.push({ text: text.slice(start), offset: start });
  return words;
}

/** Words between blanks that are neither quoted nor escaped. Quotes and escapes stay: expansion takes them away. */
export function splitQuoted(text: string, escape: Escape): Word[] {
  const words: Word[] = [];
  let at = skipBlanks(text, 0);
  while (at < text.length) {
    const offset = at;
    at = endOfQuoted(text, at, escape);
    // An escape with nothing behind it means nothing.
    const isDangling = at === text.length && danglingEscape(text, offset, escape);
    words.push({ text: text.slice(offset, isDangling ? at - 1 : at), offset });
    at = skipBlanks(text, at);
  }
  return words.filter(({ text: word }) => word !== '');
}

/** Offset of the first character at or after `at` that is no blank. */
export function skipBlanks(text: string, at: number): number {
  let next = at;
  while (next < text.length && isBlank(text[next] ?? '')) next += 1;
  return next;
}

export function isBlank(character: string): boolean {
  return /\s/.test(character);
}

function endOfQuoted(text: string, start: number, escape: Escape): number {
  let quote: string | undefined;
  let at = start;
  while (at < text.length) {
    const character = text[at] ?? '';
    if (quote === undefined && isBlank(character)) return at;
    if (character === escape && quote !== "'") at += 1;
    else if (character === quote) quote = undefined;
    else if (quote === undefined && (character === '"' || character === "'")) quote = character;
    at += 1;
  }
  return Math.min(at, text.length);
}

function danglingEscape(text: string, start: number, escape: Escape): boolean {
  let isEscaped = false;
  let quote: string | undefined;
  for (let at = start; at < text.length; at += 1) {
    const character = text[at] ?? '';
    if (isEscaped) isEscaped = false;
    else if (character === escape && quote !== "'") isEscaped = true;
    else if (character === quote) quote = undefined;
    else if (quote === undefined && (character === '"' || character === "'")) quote = character;
  }
  return isEscaped;
}

export type JsonForm =
  | { readonly kind: 'strings'; readonly strings: readonly string[] }
  /** A JSON array of other things: never meant as text for a shell. */
  | { readonly kind: 'other' }
  /** Starts like an array, but is none: taken as text. */
  | { readonly kind: 'broken' };

/** The JSON form of an instruction's arguments; undefined when they do not start with `[`. */
export function parseJsonForm(text: string): JsonForm | undefined {
  if (!text.trimStart().startsWith('[')) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { kind: 'broken' };
  }
  if (!Array.isArray(value)) return { kind: 'broken' };
  const strings = value.filter((item) => typeof item === 'string');
  return strings.length === value.length ? { kind: 'strings', strings } : { kind: 'other' };
}
