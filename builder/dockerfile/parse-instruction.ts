// From a joined line to the instruction it is: keyword, flags, here-documents, and the parser of its kind.
import { closestWord } from '../../lib/closest-word.ts';
import { parseAdd } from '../instructions/add.ts';
import { parseArg } from '../instructions/arg.ts';
import { parseCmd } from '../instructions/cmd.ts';
import { parseCopy } from '../instructions/copy.ts';
import { parseEntrypoint } from '../instructions/entrypoint.ts';
import { parseEnv } from '../instructions/env.ts';
import { parseExpose } from '../instructions/expose.ts';
import { parseFrom } from '../instructions/from.ts';
import { parseHealthcheck } from '../instructions/healthcheck.ts';
import { parseLabel } from '../instructions/label.ts';
import { parseMaintainer } from '../instructions/maintainer.ts';
import { buildOnbuild, NO_TRIGGERS } from '../instructions/onbuild.ts';
import { parseRun } from '../instructions/run.ts';
import { parseShell } from '../instructions/shell.ts';
import { parseStopsignal } from '../instructions/stopsignal.ts';
import { parseUser } from '../instructions/user.ts';
import { parseVolume } from '../instructions/volume.ts';
import { parseWorkdir } from '../instructions/workdir.ts';
import type { Checks, Escape, FromInstruction, Heredoc, Instruction, Position, Warning } from './ast.ts';
import { addWarning, skipsOf } from './checks.ts';
import { takeFlags } from './flags.ts';
import { findHeredocs } from './heredoc.ts';
import type { InstructionSource } from './instruction-source.ts';
import type { LineReader, LogicalLine } from './logical-lines.ts';
import { dockerfileError, quote } from './syntax-error.ts';
import { parseJsonForm, skipBlanks } from './words.ts';

type Kind = Exclude<Instruction['kind'] | 'FROM', 'ONBUILD'>;

const PARSERS: Readonly<Record<Kind, (source: InstructionSource) => Instruction | FromInstruction>> = {
  ADD: parseAdd,
  ARG: parseArg,
  CMD: parseCmd,
  COPY: parseCopy,
  ENTRYPOINT: parseEntrypoint,
  ENV: parseEnv,
  EXPOSE: parseExpose,
  FROM: parseFrom,
  HEALTHCHECK: parseHealthcheck,
  LABEL: parseLabel,
  MAINTAINER: parseMaintainer,
  RUN: parseRun,
  SHELL: parseShell,
  STOPSIGNAL: parseStopsignal,
  USER: parseUser,
  VOLUME: parseVolume,
  WORKDIR: parseWorkdir,
};
const KEYWORDS = [...Object.keys(PARSERS), 'ONBUILD'];
const WITH_HEREDOCS = ['ADD', 'COPY', 'RUN'];

export interface ParseContext {
  readonly file: string;
  readonly escape: Escape;
  readonly checks: Checks;
  readonly warnings: Warning[];
}

/** An instruction's text from its keyword on, in the line it stands in. */
interface Piece {
  readonly line: LogicalLine;
  /** Of the keyword in the line. */
  readonly offset: number;
  readonly keyword: string;
  readonly kind: string;
  readonly flags: InstructionSource['flags'];
  readonly flagsOffset: number;
  readonly rest: string;
  readonly restOffset: number;
}

/** Parses the instruction of a line; its here-documents are taken from `reader`. Throws Invalid. */
export function parseInstruction(
  line: LogicalLine,
  reader: LineReader,
  context: ParseContext,
): Instruction | FromInstruction {
  const piece = cutPiece(line, 0, context);
  const trigger = piece.kind === 'ONBUILD' ? cutTrigger(piece, context) : undefined;
  const heredocs = takeHeredocs(piece, trigger ?? piece, reader, context);
  const endLine = reader.line;
  if (trigger === undefined) return parsePiece(piece, heredocs, endLine, context);
  const instruction = parsePiece(trigger, heredocs, endLine, context);
  return buildOnbuild(toSource(piece, heredocs, endLine, context), instruction as Instruction);
}

function parsePiece(
  piece: Piece,
  heredocs: readonly Heredoc[],
  endLine: number,
  context: ParseContext,
): Instruction | FromInstruction {
  return PARSERS[piece.kind as Kind](toSource(piece, heredocs, endLine, context));
}

function cutPiece(line: LogicalLine, from: number, { file, escape }: ParseContext): Piece {
  const offset = skipBlanks(line.text, from);
  const keyword = /^\S*/.exec(line.text.slice(offset))?.[0] ?? '';
  const kind = keyword.toUpperCase();
  if (!KEYWORDS.includes(kind)) {
    const meant = closestWord(kind, KEYWORDS);
    const problem = `unknown instruction ${quote(keyword)}${meant === undefined ? '' : `: did you mean ${meant}?`}`;
    throw dockerfileError(file, line.locate(offset), problem, { instruction: line.text.trim() });
  }
  const flagsOffset = offset + keyword.length;
  const { flags, end } = takeFlags(line.text.slice(flagsOffset), escape);
  const rest = line.text.slice(flagsOffset + end).trimEnd();
  return { line, offset, keyword, kind, flags, flagsOffset, rest, restOffset: flagsOffset + end };
}

function cutTrigger(piece: Piece, context: ParseContext): Piece {
  const fail = (problem: string, offset: number): Error =>
    dockerfileError(context.file, piece.line.locate(offset), problem, { instruction: piece.line.text.trim() });
  if (piece.rest === '') throw fail('ONBUILD needs an instruction', piece.offset);
  const trigger = cutPiece(piece.line, piece.restOffset, context);
  if (NO_TRIGGERS.includes(trigger.kind))
    throw fail(`${trigger.kind} cannot be the trigger of an ONBUILD`, trigger.offset);
  return trigger;
}

/** `own` is the instruction that has them: the trigger of an ONBUILD. */
function takeHeredocs(piece: Piece, own: Piece, reader: LineReader, { file }: ParseContext): Heredoc[] {
  if (!WITH_HEREDOCS.includes(own.kind) || parseJsonForm(own.rest)?.kind === 'strings') return [];
  const { line } = piece;
  return findHeredocs(line.text).map((start) => {
    const content = reader.takeHeredoc(start.name, start.stripsTabs);
    if (content !== undefined) return { ...start, content };
    const problem = `here-document ${quote(start.name)} has no end: no line after it is ${start.name} alone`;
    throw dockerfileError(file, line.locate(line.text.indexOf('<<')), problem, { instruction: line.text.trim() });
  });
}

function toSource(
  { line, offset, keyword, flags, flagsOffset, rest, restOffset }: Piece,
  heredocs: readonly Heredoc[],
  endLine: number,
  context: ParseContext,
): InstructionSource {
  const text = line.text.slice(offset).trimEnd();
  const position = line.locate(offset);
  const skips = skipsOf(line.comments);
  const errorAt = (where: Position, problem: string): ReturnType<InstructionSource['error']> =>
    dockerfileError(context.file, where, problem, { instruction: text });
  return {
    position,
    endLine,
    text,
    keyword,
    flags,
    rest,
    heredocs,
    skips,
    escape: context.escape,
    error: (problem, at) => errorAt(at === undefined ? position : line.locate(restOffset + at), problem),
    flagError: (problem, flag) => errorAt(line.locate(flagsOffset + flag.offset), problem),
    warn: (rule, message) => addWarning(context.warnings, context, { position, skips, text }, { rule, message }),
  };
}
