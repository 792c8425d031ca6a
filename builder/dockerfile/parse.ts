import { messageOf, reasonOf } from '../../lib/errors.ts';
import type {
  ArgInstruction,
  Dockerfile,
  Escape,
  FromInstruction,
  Instruction,
  Position,
  Stage,
  Warning,
} from './ast.ts';
import { addWarning, ALL_CHECKS } from './checks.ts';
import { readDirectives } from './directives.ts';
import { createLineReader } from './logical-lines.ts';
import { parseInstruction, type ParseContext } from './parse-instruction.ts';
import { splitSource } from './source-lines.ts';
import { dockerfileError } from './syntax-error.ts';

/** Each adds to the history of an image, which tools have to read. */
const MAX_INSTRUCTIONS = 10_000;

/** A stage while its instructions are gathered. */
interface OpenStage {
  readonly from: FromInstruction;
  readonly instructions: Instruction[];
}

/**
 * Parses a Dockerfile; `file` is how messages name it. Nothing is expanded and nothing is looked up. Throws Invalid,
 * whose message begins `file:line:column: `, and whose details have `position` and, where one is to blame,
 * `instruction`. Takes time in proportion to the file. The language is Docker's (reference of docker/dockerfile 1).
 */
export function parseDockerfile(source: Buffer, file: string): Dockerfile {
  const lines = splitSource(source, file);
  const { syntax, escape, checks, lines: start } = readDirectives(lines, file);
  const context: ParseContext = { file, escape, checks, warnings: [] };
  const reader = createLineReader(lines, { file, escape, start });
  const globalArgs: ArgInstruction[] = [];
  const stages: OpenStage[] = [];
  const names = new Map<string, Position>();
  let instructions = 0;
  for (let line = reader.next(); line !== undefined; line = reader.next()) {
    const instruction = parseInstruction(line, reader, context);
    if (line.emptyLine !== undefined) {
      const place = { ...instruction, position: line.emptyLine };
      const message = 'empty line in a continued instruction: Docker will refuse it one day';
      addWarning(context.warnings, context, place, { rule: 'NoEmptyContinuation', message });
    }
    instructions += 1;
    if (instructions > MAX_INSTRUCTIONS) {
      throw dockerfileError(file, instruction.position, `the file has more than ${MAX_INSTRUCTIONS} instructions`);
    }
    const stage = stages.at(-1);
    if (instruction.kind === 'FROM') {
      checkName(instruction, names, file);
      stages.push({ from: instruction, instructions: [] });
    } else if (stage !== undefined) stage.instructions.push(instruction);
    else if (instruction.kind === 'ARG') globalArgs.push(instruction);
    else {
      const problem = `${instruction.kind} before the first FROM: only ARG may stand there`;
      throw dockerfileError(file, instruction.position, problem, { instruction: instruction.text });
    }
  }
  if (stages.length === 0) {
    const problem = globalArgs.length === 0 ? 'the file has no instruction' : 'the file has no FROM';
    throw dockerfileError(file, { line: Math.max(reader.line, 1), column: 1 }, problem);
  }
  const closed = stages.map((stage, index): Stage => ({ index, ...stage }));
  warnOfCasing(closed, context);
  return {
    file,
    ...(syntax === undefined ? {} : { syntax }),
    escape,
    checks,
    globalArgs,
    stages: closed,
    warnings: context.warnings,
  };
}

/**
 * Parses what an image carries as an ONBUILD trigger: one instruction. `place` is where errors point at, the FROM that
 * brings the trigger in. Throws Invalid.
 */
export function parseTrigger(
  text: string,
  { file, escape, from }: { readonly file: string; readonly escape: Escape; readonly from: FromInstruction },
): Instruction {
  const fail = (problem: string, cause?: unknown): Error =>
    dockerfileError(file, from.position, `ONBUILD trigger of ${from.base}: ${problem}`, { instruction: text, cause });
  const warnings: Warning[] = [];
  let instruction: Instruction | FromInstruction | undefined;
  let isMore: boolean;
  try {
    const lines = splitSource(Buffer.from(text), 'trigger');
    const reader = createLineReader(lines, { file: 'trigger', escape, start: 0 });
    const line = reader.next();
    instruction = line && parseInstruction(line, reader, { file: 'trigger', escape, checks: ALL_CHECKS, warnings });
    isMore = reader.next() !== undefined;
  } catch (error) {
    if (reasonOf(error) !== 'Invalid') throw error;
    throw fail(messageOf(error).replace(/^trigger:[0-9]+:[0-9]+: /, ''), error);
  }
  if (instruction === undefined || isMore) throw fail('it must be one instruction');
  if (instruction.kind === 'FROM' || instruction.kind === 'MAINTAINER' || instruction.kind === 'ONBUILD') {
    throw fail(`${instruction.kind} cannot be a trigger`);
  }
  return { ...instruction, position: from.position, endLine: from.endLine };
}

// A name that means two stages would mean the later one in some places and the earlier one in others.
function checkName({ name, position, text }: FromInstruction, names: Map<string, Position>, file: string): void {
  if (name === undefined) return;
  const earlier = names.get(name);
  if (earlier !== undefined) {
    const problem = `stage name ${name} is taken by the stage in line ${earlier.line}`;
    throw dockerfileError(file, position, problem, { instruction: text });
  }
  names.set(name, position);
}

function warnOfCasing(stages: readonly Stage[], context: ParseContext): void {
  const all = stages.flatMap(({ from, instructions }) => [from, ...instructions]);
  const lower = all.filter(({ keyword }) => keyword === keyword.toLowerCase()).length;
  const upper = all.filter(({ keyword }) => keyword === keyword.toUpperCase()).length;
  for (const instruction of all) {
    const wanted = lower > upper ? instruction.keyword.toLowerCase() : instruction.keyword.toUpperCase();
    if (instruction.keyword === wanted) continue;
    const message = `${instruction.keyword} should be ${wanted}, in the case of most instructions of the file`;
    addWarning(context.warnings, context, instruction, { rule: 'ConsistentInstructionCasing', message });
  }
}
