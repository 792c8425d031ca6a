// The one shape of what is wrong with a Dockerfile.
import { WindlassError } from '../../lib/errors.ts';
import type { Position } from './ast.ts';

const SHOWN_LENGTH = 1024;

/**
 * Invalid, with `file:line:column: ` before the problem, and in its details the position and the instruction as
 * written (its beginning, where it is long).
 */
export function dockerfileError(
  file: string,
  { line, column }: Position,
  problem: string,
  { instruction, cause }: { readonly instruction?: string; readonly cause?: unknown } = {},
): WindlassError {
  return new WindlassError('Invalid', `${file}:${line}:${column}: ${problem}`, {
    details: {
      position: { file, line, column },
      ...(instruction === undefined ? {} : { instruction: shorten(instruction, SHOWN_LENGTH) }),
    },
    ...(cause === undefined ? {} : { cause }),
  });
}

/** An option as a message shows it: not too long. */
export const shown = (text: string): string => shorten(text, 300);

/** Text of a file as a message shows it: quoted, and short. */
export function quote(text: string): string {
  return JSON.stringify(shorten(text, 100));
}

function shorten(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length)}...` : text;
}
