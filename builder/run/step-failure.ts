// What a step that failed says of itself.
import { constants } from 'node:os';
import { WindlassError } from '../../lib/errors.ts';
import type { Exit } from '../../runtime-shim/host/spawn.ts';

export interface StepEnd {
  readonly args: readonly string[];
  readonly exit: Exit;
  /** How often the kernel killed in its control group for memory. */
  readonly oomKills: number;
  /** The error in the log of the OCI runtime: it has one only when it could not run the command. */
  readonly complaint: string;
  /** Last lines of output. */
  readonly tail: readonly string[];
}

const SIGNAL_BASE = 128;
const MAX_SHOWN = 200;
const MAX_SHOWN_COMPLAINT = 300;

/** Undefined for a step that succeeded. */
export function describeFailure({ args, exit, oomKills, complaint, tail }: StepEnd): WindlassError | undefined {
  const code = exit.code ?? SIGNAL_BASE + (exit.signal ? constants.signals[exit.signal] : 0);
  if (code === 0) return undefined;
  if (complaint !== '') return describeNoStart(args, complaint);
  const signal = code > SIGNAL_BASE ? signalName(code - SIGNAL_BASE) : undefined;
  const isOutOfMemory = oomKills > 0;
  const how = [
    `exit code ${code}`,
    ...(signal === undefined ? [] : [`as after ${signal}`]),
    ...(isOutOfMemory ? ['the kernel killed a process of it for memory'] : []),
  ].join(', ');
  const last = tail.findLast((line) => line.trim() !== '');
  const said = last === undefined ? '' : `; its last line: ${shorten(last.trim())}`;
  // The command is told by whoever knows the instruction, as its author wrote it.
  return new WindlassError('Invalid', `${how}${said}`, {
    details: { exitCode: code, ...(signal === undefined ? {} : { signal }), isOutOfMemory, output: tail },
  });
}

function describeNoStart(args: readonly string[], complaint: string): WindlassError {
  // What it was about comes last.
  const reason = complaint.slice(-MAX_SHOWN_COMPLAINT);
  const program = JSON.stringify(args[0] ?? '');
  const details = { complaint: reason, output: [] };
  const fail = (word: 'Invalid' | 'Internal', message: string): WindlassError =>
    new WindlassError(word, message, { details });
  if (!/exec|chdir|cwd/i.test(complaint)) {
    // A mount point that cannot be made where the instruction wants it, for one.
    const isAsked = /read-only file system|not a directory|file exists|is a directory/i.test(complaint);
    return fail(isAsked ? 'Invalid' : 'Internal', `the step cannot be set up: ${reason}`);
  }
  if (!/exec/i.test(complaint) || !/not found|no such file or directory/i.test(complaint)) {
    return fail('Invalid', `program ${program} cannot be run: ${reason}`);
  }
  const hint = args[1] === '-c' ? '; without a shell, RUN takes a list: RUN ["program", "argument"]' : '';
  const lacks = 'this stage lacks it, or the interpreter or loader that it needs';
  return fail('Invalid', `program ${program} cannot be run: ${lacks}${hint}`);
}

const signalName = (number: number): string =>
  Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? `signal ${number}`;

const shorten = (text: string): string => (text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}...` : text);
