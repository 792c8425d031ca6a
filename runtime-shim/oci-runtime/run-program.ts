// A short-lived program with its output collected, started by posix_spawn.
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { identifyProcess } from '../../lib/process-identity.ts';
import { createPipe } from '../host/pipe.ts';
import { signalExactProcess } from '../host/processes.ts';
import type { Exit, Spawner } from '../host/spawn.ts';
import { openEndedPipe } from './harmless-stdio.ts';

export interface ProgramOptions {
  readonly file: string;
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Ends the program (SIGKILL) and rejects with the signal's reason. */
  readonly signal: AbortSignal;
}

export interface PipedProcess {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  readonly stdin: Socket | undefined;
  readonly stdout: Socket;
  readonly stderr: Socket;
}

const MAX_OUTPUT_BYTES = 1024 * 1024;

/** Starts a program with pipes on stdout and stderr, and on stdin when asked. */
export function spawnPiped(
  spawner: Spawner,
  options: {
    readonly file: string;
    readonly argv: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
    readonly cwd?: string;
    readonly stdin: boolean;
  },
): PipedProcess {
  const out = createPipe();
  const err = createPipe();
  const input = options.stdin ? createPipe() : undefined;
  const stdin = input?.readFd ?? openEndedPipe();
  const childEnds = [out.writeFd, err.writeFd, stdin];
  const ownEnds = [out.readFd, err.readFd, ...(input ? [input.writeFd] : [])];
  try {
    const { pid, exited } = spawner.spawnProcess({
      file: options.file,
      argv: options.argv,
      env: { PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin', ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      fds: { 0: stdin, 1: out.writeFd, 2: err.writeFd },
      newSession: true,
    });
    const reader = (fd: number): Socket => new Socket({ fd, readable: true, writable: false });
    return {
      pid,
      exited,
      stdin: input && new Socket({ fd: input.writeFd, readable: false, writable: true }),
      stdout: reader(out.readFd),
      stderr: reader(err.readFd),
    };
  } catch (error) {
    for (const fd of ownEnds) closeSync(fd);
    throw error;
  } finally {
    for (const fd of childEnds) closeSync(fd);
  }
}

/** Runs a program to its end. `code` is -1 when a signal ended it. */
export async function runProgram(
  spawner: Spawner,
  options: ProgramOptions,
): Promise<{ code: number; stdout: string; stderr: string }> {
  options.signal.throwIfAborted();
  const child = spawnPiped(spawner, { ...options, stdin: false });
  // Identified while it cannot have been reaped: its pipes may stay open for longer, held by a child, and by then the pid
  // can be somebody else's.
  const program = identifyProcess(child.pid);
  const kill = (): void => {
    if (program) signalExactProcess(program, 'SIGKILL');
    child.stdout.destroy();
    child.stderr.destroy();
  };
  options.signal.addEventListener('abort', kill, { once: true });
  try {
    const [stdout, stderr, exit] = await Promise.all([readText(child.stdout), readText(child.stderr), child.exited]);
    options.signal.throwIfAborted();
    return { code: exit.code ?? -1, stdout, stderr };
  } catch (error) {
    // Output that was cut off because of the abort is not the failure to tell of.
    options.signal.throwIfAborted();
    throw error;
  } finally {
    options.signal.removeEventListener('abort', kill);
  }
}

async function readText(socket: Socket): Promise<string> {
  let text = '';
  for await (const chunk of socket) if (text.length < MAX_OUTPUT_BYTES) text += String(chunk);
  return text;
}
