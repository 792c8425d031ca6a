// A failed build in words: where it is to be looked for, and what the command said. Pure.
import type { BuildFailure } from '../runtime/node-runtime.ts';

const TAIL_LINES = 10;
const TAIL_BYTES = 1500;

/**
 * The condition's reason for what the Dockerfile, its files or its commands are to blame for. All of a Dockerfile is read
 * before its first step.
 */
export function failureReason({ message, line }: BuildFailure, hasBegun: boolean): string {
  if (line > 0 && !hasBegun) return 'DockerfileInvalid';
  return /\bsecret\b.*\b(not found|is not given|required)\b/.test(message) ? 'SecretNotFound' : 'BuildFailed';
}

/** `Dockerfile:7:1: RUN make: exit code 2`, and below it the end of the log when a command is what failed. */
export function describeFailure(failure: BuildFailure, log: string): string {
  const { message, file, line, column, instruction } = failure;
  const where = file === '' ? '' : [file, line, column].filter((part) => part !== 0).join(':');
  // The message may say the one or the other already.
  const rest = where !== '' && message.startsWith(`${where}: `) ? message.slice(where.length + 2) : message;
  const parts = [where, ...(rest.includes(instruction) ? [] : [instruction]), rest];
  const text = parts.filter((part) => part !== '').join(': ');
  const tail = instruction === '' ? '' : lastLines(log, message);
  return tail === '' ? text : `${text}\n${tail}`;
}

function lastLines(log: string, message: string): string {
  const lines = log
    .trimEnd()
    .split('\n')
    .slice(-TAIL_LINES - 1);
  // The log ends with the failure itself.
  const told = lines.filter((line) => line !== '' && line !== `ERROR: ${message}` && !message.includes(line));
  let tail = told.slice(-TAIL_LINES).join('\n');
  if (tail.length > TAIL_BYTES) tail = `... ${tail.slice(-TAIL_BYTES)}`;
  return tail;
}
