// Joins continued lines to the one line of an instruction, and remembers where each part of it stands in the file.
import type { Escape, Position } from './ast.ts';
import { withoutLineEnd } from './source-lines.ts';
import { dockerfileError } from './syntax-error.ts';

export interface LogicalLine {
  /** Lines joined: without the escape at their ends, without comment lines and empty lines between them. */
  readonly text: string;
  readonly endLine: number;
  /** Comments before the line, since the last instruction. */
  readonly comments: readonly string[];
  /** The first empty line among those joined. */
  readonly emptyLine?: Position;
  /** Where a character of `text` stands in the file. */
  locate(offset: number): Position;
}

export interface LineReader {
  /** The next line that has an instruction; undefined at the end of the file. */
  next(): LogicalLine | undefined;
  /**
   * Takes the lines of a here-document from behind the line that next() gave last, its terminator too, and gives them
   * without it; undefined when the file ends before.
   */
  takeHeredoc(terminator: string, stripsTabs: boolean): string | undefined;
  /** Number of the last line that was taken. */
  readonly line: number;
}

interface Segment {
  readonly offset: number;
  readonly line: number;
  readonly column: number;
}

/** Reads `lines` from index `start` on. next() throws Invalid where the file ends in a continuation. */
export function createLineReader(
  lines: readonly string[],
  { file, escape, start }: { readonly file: string; readonly escape: Escape; readonly start: number },
): LineReader {
  let taken = start;

  function join(comments: readonly string[]): LogicalLine {
    const parts: string[] = [];
    const segments: Segment[] = [];
    let length = 0;
    let emptyLine: Position | undefined;
    const first = withoutLineEnd(lines[taken - 1] ?? '');
    let column = first.length - first.trimStart().length + 1;
    let line = first.trimStart();
    for (;;) {
      const { text, isContinued } = cutContinuation(line, escape);
      segments.push({ offset: length, line: taken, column });
      parts.push(text);
      length += text.length;
      if (!isContinued) break;
      const next = skipToContinuation();
      if (next === undefined) {
        const end = { line: segments.at(-1)?.line ?? taken, column: column + text.length };
        const problem = `the line goes on after its ${JSON.stringify(escape)}, but the file ends here`;
        throw dockerfileError(file, end, problem, { instruction: parts.join('') });
      }
      emptyLine ??= next.emptyLine;
      line = next.text;
      column = 1;
    }
    return {
      text: parts.join(''),
      endLine: taken,
      comments,
      ...(emptyLine === undefined ? {} : { emptyLine }),
      locate: (offset) => locate(segments, offset),
    };
  }

  function skipToContinuation(): { text: string; emptyLine: Position | undefined } | undefined {
    let emptyLine: Position | undefined;
    while (taken < lines.length) {
      const text = withoutLineEnd(lines[taken] ?? '');
      taken += 1;
      const trimmed = text.trimStart();
      if (trimmed === '') emptyLine ??= { line: taken, column: 1 };
      else if (!trimmed.startsWith('#')) return { text, emptyLine };
    }
    return undefined;
  }

  return {
    next() {
      let comments: string[] = [];
      while (taken < lines.length) {
        const trimmed = withoutLineEnd(lines[taken] ?? '').trim();
        taken += 1;
        if (trimmed === '') continue;
        if (!trimmed.startsWith('#')) return join(comments);
        const comment = trimmed.slice(1).trim();
        if (comment === '') comments = [];
        else comments.push(comment);
      }
      return undefined;
    },
    takeHeredoc(terminator, stripsTabs) {
      const content: string[] = [];
      while (taken < lines.length) {
        const line = lines[taken] ?? '';
        taken += 1;
        const bare = withoutLineEnd(line);
        if ((stripsTabs ? bare.replace(/^\t+/, '') : bare) === terminator) return content.join('');
        content.push(line);
      }
      return undefined;
    },
    get line() {
      return taken;
    },
  };
}

/** A line goes on when its last character, blanks aside, is an escape that is not escaped itself. */
function cutContinuation(line: string, escape: Escape): { text: string; isContinued: boolean } {
  let end = line.length;
  while (end > 0 && (line[end - 1] === ' ' || line[end - 1] === '\t')) end -= 1;
  if (end === 0 || line[end - 1] !== escape || line[end - 2] === escape) return { text: line, isContinued: false };
  return { text: line.slice(0, end - 1), isContinued: true };
}

function locate(segments: readonly Segment[], offset: number): Position {
  let low = 0;
  let high = segments.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((segments[middle]?.offset ?? 0) <= offset) low = middle;
    else high = middle - 1;
  }
  const segment = segments[low];
  if (segment === undefined) return { line: 1, column: 1 };
  return { line: segment.line, column: segment.column + offset - segment.offset };
}
