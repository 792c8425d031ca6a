// Failures told by the place in the Dockerfile that is to blame.
import { isAbort, WindlassError } from '../lib/errors.ts';
import type { Instruction, Position } from './dockerfile/ast.ts';

/**
 * The failure of an instruction: its message begins with `file:line:column: `, its details have `position` and
 * `instruction`. What is no failure (an abort), or names its place already, stays as it is.
 */
export function atInstruction(
  error: unknown,
  file: string,
  { position, text }: { readonly position: Position; readonly text: Instruction['text'] },
): unknown {
  if (isAbort(error) || !(error instanceof WindlassError) || error.details['position'] !== undefined) return error;
  const { line, column } = position;
  const message = `${file}:${line}:${column}: ${shorten(text)}: ${error.message}`;
  const details = { ...error.details, position: { file, line, column }, instruction: text };
  return new WindlassError(error.reason, message, { details, cause: error });
}

const shorten = (text: string): string => (text.length > 200 ? `${text.slice(0, 200)}...` : text);
