// The pairs of ENV and LABEL: `KEY=value KEY=value`, or the old `KEY value with blanks`.
import type { KeyValue } from '../dockerfile/ast.ts';
import { kindOf, type InstructionSource } from '../dockerfile/instruction-source.ts';
import { quote } from '../dockerfile/syntax-error.ts';
import { splitQuoted } from '../dockerfile/words.ts';
import type { Scope } from './scope.ts';

/** Parses pairs, values with their quotes. Throws Invalid for a word that is none and for an empty key. */
export function parsePairs(source: InstructionSource): { pairs: KeyValue[]; isLegacy: boolean } {
  const kind = kindOf(source);
  const [first, ...others] = splitQuoted(source.rest, source.escape);
  if (first === undefined) throw source.error(`${kind} needs KEY=value`);
  if (!first.text.includes('=')) {
    const blank = source.rest.search(/[\t\v\f\r ]/);
    const value = blank === -1 ? '' : source.rest.slice(blank).replace(/^[\t\v\f\r ]+/, '');
    if (value === '') throw source.error(`${kind} needs a value: ${kind} ${first.text}=value`, first.offset);
    source.warn('LegacyKeyValueFormat', `write ${kind} KEY=value in place of the old ${kind} KEY value`);
    return { pairs: [{ key: source.rest.slice(0, blank), value }], isLegacy: true };
  }
  const pairs = [first, ...others].map(({ text, offset }) => {
    const equals = text.indexOf('=');
    if (equals === -1) throw source.error(`${quote(text)} is not KEY=value: a value with blanks needs quotes`, offset);
    if (equals === 0) throw source.error(`${quote(text)} has no key before its =`, offset);
    return { key: text.slice(0, equals), value: text.slice(equals + 1) };
  });
  return { pairs, isLegacy: false };
}

/** Keys and values expanded. Every value sees what was there before the instruction. */
export function expandPairs(pairs: readonly KeyValue[], scope: Scope): KeyValue[] {
  return pairs.map(({ key, value }) => {
    const name = scope.expand(key);
    if (name === '') throw scope.error(`key ${quote(key)} is empty once it is expanded`);
    return { key: name, value: scope.expand(value) };
  });
}

/** ` KEY=value KEY=value`, as the history has it. */
export function formatPairs(pairs: readonly KeyValue[]): string {
  return pairs.map(({ key, value }) => ` ${key}=${value}`).join('');
}
