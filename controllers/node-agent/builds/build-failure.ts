// A failed build in words: where it is to be looked for, and what the command said. Pure.
import type { BuildFailure } from '../../../cri/node-messages.ts';

const TAIL_LINES = 10;
const TAIL_BYTES = 1500;

/**
 * The condition's reason for what the Dockerfile, its files or its commands are to blame for. All of a Dockerfile is read
 * before its first step.
 */
export function failureReason({ reason, line }: BuildFailure, hasBegun: boolean): string {
  if (line > 0 && !hasBegun) return 'DockerfileInvalid';
  return reason === 'SecretNotFound' ? reason : 'BuildFailed';
}

/** `Dockerfile:7:1: RUN make: exit code 2`, and below it the end of the output when a command is what failed. */
export function describeFailure({ message, file, line, column, instruction, output }: BuildFailure): string {
  const where = file === '' ? '' : [file, line, column].filter((part) => part !== 0).join(':');
  // A message that names the place says what is wrong there, too.
  const isPlaced = where !== '' && message.startsWith(`${where}: `);
  const parts = isPlaced ? [message] : [where, instruction, message];
  const text = parts.filter((part) => part !== '').join(': ');
  const tail = lastLines(output);
  return tail === '' ? text : `${text}\n${tail}`;
}

function lastLines(output: readonly string[]): string {
  const tail = output
    .filter((line) => line.trim() !== '')
    .slice(-TAIL_LINES)
    .join('\n');
  return tail.length > TAIL_BYTES ? `... ${tail.slice(-TAIL_BYTES)}` : tail;
}
