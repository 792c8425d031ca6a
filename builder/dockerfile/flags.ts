// The flags of an instruction: `--name` and `--name=value` before its arguments.
import { closestWord } from '../../lib/closest-word.ts';
import type { Escape } from './ast.ts';
import { kindOf, type FlagWord, type InstructionSource } from './instruction-source.ts';
import { quote } from './syntax-error.ts';
import { isBlank, skipBlanks } from './words.ts';

/** How often and with what a flag may be given. */
export type FlagKind = 'text' | 'boolean' | 'list';

export interface Flags<Name extends string> {
  /** Undefined when the flag is not there; '' when it is `--name=`. */
  text(name: Name): string | undefined;
  boolean(name: Name): boolean | undefined;
  list(name: Name): readonly string[];
}

/** Takes the flags off the beginning of `text`; `end` is where what is no flag begins. Quotes and escapes are gone. */
export function takeFlags(text: string, escape: Escape): { readonly flags: readonly FlagWord[]; readonly end: number } {
  const flags: FlagWord[] = [];
  let at = skipBlanks(text, 0);
  while (text.startsWith('--', at)) {
    const offset = at;
    const word = readFlag(text, at, escape);
    at = skipBlanks(text, word.end);
    if (word.text === '--') break;
    const equals = word.text.indexOf('=');
    const name = word.text.slice(2, equals === -1 ? undefined : equals);
    flags.push({ text: word.text, offset, name, ...(equals === -1 ? {} : { value: word.text.slice(equals + 1) }) });
  }
  return { flags, end: at };
}

/** Checks the flags of an instruction against what it knows. Throws Invalid for unknown, repeated and wrong ones. */
export function readFlags<Name extends string>(
  source: InstructionSource,
  known: Readonly<Record<Name, FlagKind>>,
): Flags<Name> {
  const kinds = new Map<string, FlagKind>(Object.entries<FlagKind>(known));
  const values = new Map<string, string[]>();
  for (const flag of source.flags) {
    const kind = kinds.get(flag.name);
    if (kind === undefined) throw source.flagError(unknownFlag(source, flag.name, [...kinds.keys()]), flag);
    const earlier = values.get(flag.name) ?? [];
    if (kind !== 'list' && earlier.length > 0) throw source.flagError(`--${flag.name} is there twice`, flag);
    if (flag.value === undefined && kind !== 'boolean') throw source.flagError(`--${flag.name} needs a value`, flag);
    const value = flag.value ?? 'true';
    if (kind === 'boolean' && !/^(?:true|false)$/i.test(value)) {
      throw source.flagError(`--${flag.name} takes true or false, not ${quote(value)}`, flag);
    }
    earlier.push(value);
    values.set(flag.name, earlier);
  }
  return {
    text: (name) => values.get(name)?.[0],
    boolean(name) {
      const value = values.get(name)?.[0];
      return value === undefined ? undefined : value.toLowerCase() === 'true';
    },
    list: (name) => values.get(name) ?? [],
  };
}

/** For instructions without flags. */
export function refuseFlags(source: InstructionSource): void {
  readFlags(source, {});
}

function unknownFlag(source: InstructionSource, name: string, known: readonly string[]): string {
  const problem = `unknown flag --${name} of ${kindOf(source)}`;
  const meant = closestWord(name, known);
  if (meant !== undefined) return `${problem}: did you mean --${meant}?`;
  if (known.length === 0) return `${problem}, which has none`;
  return `${problem}; it has ${known.map((flag) => `--${flag}`).join(', ')}`;
}

function readFlag(text: string, start: number, escape: Escape): { text: string; end: number } {
  let quoteMark: string | undefined;
  let word = '';
  let at = start;
  for (; at < text.length; at += 1) {
    const character = text[at] ?? '';
    if (quoteMark === undefined && isBlank(character)) break;
    if (character === escape) {
      at += 1;
      word += text[at] ?? '';
    } else if (character === quoteMark) quoteMark = undefined;
    else if (quoteMark === undefined && (character === '"' || character === "'")) quoteMark = character;
    else word += character;
  }
  return { text: word, end: Math.min(at, text.length) };
}
