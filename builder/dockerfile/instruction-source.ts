// What the parser of one kind of instruction gets to see: the text of the instruction and its surroundings.
import type { WindlassError } from '../../lib/errors.ts';
import type { Escape, Heredoc, Position, SkippedRules } from './ast.ts';
import { type Word, parseJsonForm, splitBlanks } from './words.ts';

export interface FlagWord extends Word {
  readonly name: string;
  /** Absent for `--name` alone. */
  readonly value?: string;
}

export interface InstructionSource {
  readonly position: Position;
  readonly endLine: number;
  readonly text: string;
  readonly keyword: string;
  readonly flags: readonly FlagWord[];
  /** What follows keyword and flags, trimmed. */
  readonly rest: string;
  readonly heredocs: readonly Heredoc[];
  readonly skips: SkippedRules;
  readonly escape: Escape;
  /** Says what is wrong with the instruction; `offset` counts in `rest`, and is its keyword's when it is left out. */
  error(problem: string, offset?: number): WindlassError;
  /** The same for a flag. */
  flagError(problem: string, flag: FlagWord): WindlassError;
  warn(rule: string, message: string): void;
}

/** The keyword as errors and logs name it. */
export function kindOf(source: InstructionSource): string {
  return source.keyword.toUpperCase();
}

/** What every instruction has in common. */
export function commonFields({ position, endLine, text, keyword, flags, heredocs, skips }: InstructionSource) {
  const plain = flags.map(({ name, value = '' }) => ({ name, value }));
  return { position, endLine, text, keyword, flags: plain, heredocs, skips };
}

/**
 * The strings of the JSON form; undefined for the other form. `offset` is where it begins in `rest`. Throws Invalid for
 * an array of other things, and for a string that no program can be given.
 */
export function jsonStrings(source: InstructionSource, offset = 0): readonly string[] | undefined {
  const json = parseJsonForm(source.rest.slice(offset));
  if (json?.kind === 'other') throw source.error('the JSON form takes strings only', offset);
  if (json?.kind !== 'strings') return undefined;
  if (json.strings.some((text) => text.includes('\0'))) throw source.error('NUL characters are not allowed', offset);
  return json.strings;
}

/** Arguments of the JSON form, or words between blanks. */
export function readList(source: InstructionSource): readonly string[] {
  return jsonStrings(source) ?? splitBlanks(source.rest).map(({ text }) => text);
}

/** The one argument of an instruction, which may have blanks. Throws Invalid when there is none. */
export function readOne(source: InstructionSource, what: string): string {
  if (source.rest === '') throw source.error(`${kindOf(source)} needs ${what}`);
  return source.rest;
}
