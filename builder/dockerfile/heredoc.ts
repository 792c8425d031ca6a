// Which here-documents an instruction begins. Found with the lexer of the shell, so that `<<` in quotes is none.
import type { Heredoc } from './ast.ts';
import { expand, type ExpandOptions } from './expand.ts';
import { Problem } from './problem.ts';

/** A here-document whose content is still to be read. */
export type HeredocStart = Omit<Heredoc, 'content'>;

const START = /^[0-9]*<<(-?)\s*([^<]*)$/;
const NOTHING = { get: () => undefined };

/** The here-documents of a line, in order. */
export function findHeredocs(line: string): HeredocStart[] {
  if (!line.includes('<<')) return [];
  const starts: HeredocStart[] = [];
  for (const word of lex(line, { isRaw: true, limit: Infinity })) {
    const start = parseHeredocStart(word);
    if (start !== undefined) starts.push(start);
  }
  return starts;
}

/** The here-document that a word begins; undefined when it is another word. */
export function parseHeredocStart(word: string): HeredocStart | undefined {
  const [, dash, written = ''] = START.exec(word) ?? [];
  if (written === '') return undefined;
  const [name, ...others] = lex(written, {});
  if (name === undefined || others.length > 0) return undefined;
  const [quoted = ''] = lex(written, { keepsQuotes: true });
  return { name, expands: countQuotes(name) === countQuotes(quoted), stripsTabs: dash === '-' };
}

/** The content as the file that COPY writes or the script that RUN starts has it. */
export function heredocText({ content, stripsTabs }: Heredoc): string {
  return stripsTabs ? content.replace(/^\t+/gm, '') : content;
}

// What the lexer refuses (an apostrophe in a shell's comment) has no here-documents; its shell may know better.
function lex(text: string, options: Partial<ExpandOptions>): readonly string[] {
  try {
    return expand(text, { escape: '\\', variables: NOTHING, keepsUnset: true, ...options }).words;
  } catch (error) {
    if (error instanceof Problem) return [];
    throw error;
  }
}

function countQuotes(text: string): number {
  return text.replace(/[^'"]/g, '').length;
}
