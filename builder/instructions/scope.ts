// What the evaluation of one kind of instruction gets to see, and what it gives back.
import { closestWord } from '../../lib/closest-word.ts';
import type { WindlassError } from '../../lib/errors.ts';
import type { Instruction, Warning } from '../dockerfile/ast.ts';
import { addWarning } from '../dockerfile/checks.ts';
import { expand, type Expanded, type ExpandOptions } from '../dockerfile/expand.ts';
import { withPlace } from '../dockerfile/problem.ts';
import { dockerfileError, quote } from '../dockerfile/syntax-error.ts';
import type { Operation } from '../operations.ts';
import type { StageState } from './stage-state.ts';

export interface Scope {
  readonly state: StageState;
  /** The value of a word: variables replaced, quotes and escapes gone. Throws Invalid. */
  expand(word: string): string;
  /** The same, split at blanks that were not quoted. */
  expandWords(word: string): readonly string[];
  /** A here-document's content with its variables replaced; quotes are plain characters in it. */
  expandContent(content: string): string;
  error(problem: string, cause?: unknown): WindlassError;
  warn(rule: string, message: string): void;
  /** The same surroundings with another state. */
  with(state: StageState): Scope;
}

/** What an instruction did. */
export interface Change {
  readonly state: StageState;
  readonly createdBy?: string;
  readonly operation?: Operation;
}

/** Words with more unknown variables than this were not meant for us: no guessing. */
const MAX_HINTS = 10;
/** Longest content of a here-document after expansion. */
const MAX_CONTENT = 16 * 1024 * 1024;

/** The surroundings of `instruction` in a stage. Warnings are added to `warnings`. */
export function createScope(state: StageState, instruction: Instruction, warnings: Warning[]): Scope {
  const { dockerfile } = state.plan;
  const variables = variablesOf(state);

  const error = (problem: string, cause?: unknown): WindlassError =>
    dockerfileError(dockerfile.file, instruction.position, problem, { instruction: instruction.text, cause });
  const warn = (rule: string, message: string): void =>
    addWarning(warnings, dockerfile, instruction, { rule, message });

  function run(word: string, options: Partial<ExpandOptions>): Expanded {
    const expanded = withPlace(
      (problem, cause) => error(`cannot expand ${quote(word)}: ${problem}`, cause),
      () => expand(word, { escape: dockerfile.escape, variables, ...options }),
    );
    for (const name of expanded.unset) {
      if (state.args.has(name)) continue;
      const meant = expanded.unset.size > MAX_HINTS ? undefined : closestWord(name, variables.names());
      warn('UndefinedVar', `variable $${name} is not defined${meant === undefined ? '' : `: did you mean $${meant}?`}`);
    }
    return expanded;
  }

  return {
    state,
    expand: (word) => run(word, {}).text,
    expandWords: (word) => run(word, {}).words,
    expandContent: (content) => run(content, { escape: '\\', hasPlainQuotes: true, limit: MAX_CONTENT }).text,
    error,
    warn,
    with: (other) => createScope(other, instruction, warnings),
  };
}

export interface Variables {
  get(name: string): string | undefined;
  names(): Iterable<string>;
}

/** What `$NAME` stands for: ARGs, and ENVs, which win over ARGs of the same name. */
export function variablesOf({ args, config }: StageState): Variables {
  const env = new Map((config.Env ?? []).map(splitEnv));
  return {
    get: (name) => env.get(name) ?? args.get(name),
    names: () => new Set([...env.keys(), ...args.keys()]),
  };
}

/** Name and value of `NAME=value`. */
export function splitEnv(entry: string): readonly [name: string, value: string] {
  const equals = entry.indexOf('=');
  return equals === -1 ? [entry, ''] : [entry.slice(0, equals), entry.slice(equals + 1)];
}
