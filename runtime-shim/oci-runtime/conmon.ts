// conmon: one small process per container that starts the OCI runtime, keeps the container's output and exit code, and
// lives on when this daemon does not.
import { spawnSync } from 'node:child_process';
import { closeSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { WindlassError } from '../../lib/errors.ts';
import { createPipe } from '../host/pipe.ts';
import type { SpawnedProcess, Spawner } from '../host/spawn.ts';

export interface ConmonOptions {
  readonly conmonPath: string;
  /** OCI runtime program and the arguments before its command. */
  readonly runtimePath: string;
  readonly runtimeArgs: readonly string[];
  readonly runtimeEnv?: Readonly<Record<string, string>>;
  /** Where conmon and the runtime see the mounts; undefined = where this process does. */
  readonly mountNamespace?: number | undefined;
  readonly containerId: string;
  readonly name: string;
  /** Folder with config.json; conmon keeps its own files in it too. */
  readonly bundle: string;
  /** Where `<containerId>` with the exit code appears, by rename. */
  readonly exitDirectory: string;
  /** CRI log file; undefined = output is dropped. */
  readonly logPath: string | undefined;
  readonly terminal: boolean;
  readonly stdin: boolean;
  /** Keep stdin open when an attached client leaves. */
  readonly leaveStdinOpen: boolean;
  /** Called with the process that was just started, before it has done anything of note. */
  readonly onStart?: (pid: number) => void;
}

const SYNC_FD = 3;
/** A line longer than this is no message of conmon's. */
const MAX_MESSAGE_BYTES = 256 * 1024;

/** Files of conmon in a bundle. */
export const bundleFiles = {
  config: (bundle: string): string => join(bundle, 'config.json'),
  pid: (bundle: string): string => join(bundle, 'pid'),
  conmonPid: (bundle: string): string => join(bundle, 'conmon.pid'),
  /** Written by conmon when the kernel killed for memory. */
  oom: (bundle: string): string => join(bundle, 'oom'),
  control: (bundle: string): string => join(bundle, 'ctl'),
} as const;

/** The argument vector for `conmon` that creates a container. */
export function conmonArguments(options: ConmonOptions): string[] {
  return [
    options.conmonPath,
    ...['-b', options.bundle, '-c', options.containerId, '-u', options.containerId, '-n', options.name],
    ...['-r', options.runtimePath, ...options.runtimeArgs.map((arg) => `--runtime-arg=${arg}`)],
    ...['-p', bundleFiles.pid(options.bundle), '-P', bundleFiles.conmonPid(options.bundle)],
    ...['-l', options.logPath === undefined ? 'none' : `k8s-file:${options.logPath}`],
    ...['--exit-dir', options.exitDirectory, '--persist-dir', options.bundle],
    // The attach socket goes into the bundle, opened through a descriptor: no path is too long, nothing lands in /var.
    ...['--full-attach', '--no-sync-log', '--log-level', 'error'],
    ...(options.terminal ? ['-t'] : []),
    ...(options.stdin ? ['-i'] : []),
    ...(options.leaveStdinOpen ? ['--leave-stdin-open'] : []),
  ];
}

/** The first release that hands its own stdio on to a program. */
const PASSES_THROUGH_SINCE = [2, 0, 31];

/** True when this conmon knows `-l passthrough`, by what `conmon --version` says. */
export function canPassThrough(version: string): boolean {
  const numbers = /version (\d+)\.(\d+)\.(\d+)/.exec(version)?.slice(1).map(Number);
  const difference = numbers
    ?.map((number, place) => number - (PASSES_THROUGH_SINCE[place] ?? 0))
    .find((by) => by !== 0);
  return numbers !== undefined && (difference ?? 0) >= 0;
}

/** What `conmon --version` says; empty when it says nothing. */
export function readConmonVersion(conmonPath: string): string {
  return spawnSync(conmonPath, ['--version'], { encoding: 'utf8', timeout: 5000 }).stdout ?? '';
}

/**
 * The argument vector for a further program in a container, which gets conmon's own stdio. runc copies the output and
 * keeps the exit code to itself until everybody has closed it; conmon reaps the program and ends with its code.
 */
export function execArguments(
  options: Pick<ConmonOptions, 'conmonPath' | 'runtimePath' | 'runtimeArgs' | 'containerId' | 'bundle'> & {
    readonly processFile: string;
    readonly pidFile: string;
  },
): string[] {
  return [
    options.conmonPath,
    ...[
      '--sync',
      '-b',
      options.bundle,
      '-c',
      options.containerId,
      '-u',
      options.containerId,
      '-n',
      options.containerId,
    ],
    ...['-r', options.runtimePath, ...options.runtimeArgs.map((arg) => `--runtime-arg=${arg}`)],
    ...['-e', '--exec-process-spec', options.processFile, '-p', options.pidFile],
    ...['-l', 'passthrough', '--log-level', 'error'],
  ];
}

/**
 * Starts conmon and waits until the OCI runtime has created the container and the pid of the monitor stands in its file;
 * returns the pid of the container's first process.
 * Invalid when the image lacks the program, Internal with the runtime's own words otherwise.
 */
export async function createByConmon(spawner: Spawner, options: ConmonOptions, signal: AbortSignal): Promise<number> {
  signal.throwIfAborted();
  for (const file of [bundleFiles.pid, bundleFiles.conmonPid, bundleFiles.oom])
    rmSync(file(options.bundle), { force: true });
  const pipe = createPipe();
  let launcher: SpawnedProcess;
  try {
    launcher = spawner.spawnProcess({
      file: options.conmonPath,
      argv: conmonArguments(options),
      env: {
        PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin',
        ...options.runtimeEnv,
        _OCI_SYNCPIPE: String(SYNC_FD),
      },
      cwd: options.bundle,
      fds: { [SYNC_FD]: pipe.writeFd },
      newSession: true,
      mountNamespace: options.mountNamespace,
    });
    options.onStart?.(launcher.pid);
  } catch (error) {
    closeSync(pipe.readFd);
    throw new WindlassError('Internal', `failed to start conmon for container ${options.containerId}`, {
      cause: error,
    });
  } finally {
    closeSync(pipe.writeFd);
  }
  const pid = parseSyncMessage(await readLine(pipe.readFd, signal), options.containerId);
  // What was started forks the monitor, notes its pid in a file and ends: on a busy machine after the container was made.
  await untilEnded(launcher, signal);
  return pid;
}

async function untilEnded({ exited }: SpawnedProcess, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason as Error);
  signal.addEventListener('abort', abort, { once: true });
  try {
    await Promise.race([exited, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** First line of the pipe; what came so far when it ends without one. */
async function readLine(fd: number, signal: AbortSignal): Promise<string> {
  const socket = new Socket({ fd, readable: true, writable: false });
  // Not by the socket's own option: that one listens to the signal after the end of the socket too.
  const abort = (): void => void socket.destroy(signal.reason as Error);
  signal.addEventListener('abort', abort, { once: true });
  let text = '';
  try {
    for await (const chunk of socket) {
      text += String(chunk);
      if (text.includes('\n') || text.length > MAX_MESSAGE_BYTES) break;
    }
  } finally {
    signal.removeEventListener('abort', abort);
    socket.destroy();
  }
  return text;
}

/** Pid in conmon's message, or its complaint as an error. */
export function parseSyncMessage(text: string, containerId: string): number {
  let message: { pid?: unknown; message?: unknown } = {};
  try {
    message = JSON.parse(text.split('\n')[0] ?? '') as typeof message;
  } catch {
    // Handled below: no pid, and whatever text there is becomes the message.
  }
  if (typeof message.pid === 'number' && message.pid > 0) return message.pid;
  const detail = lastComplaint(typeof message.message === 'string' ? message.message : text);
  const isUsers =
    /executable file not found|no such file or directory|permission denied|not a directory|is a directory/i;
  throw new WindlassError(
    isUsers.test(detail) && /exec|cwd|chdir/.test(detail) ? 'Invalid' : 'Internal',
    `failed to create container ${containerId}: ${detail || 'conmon ended without a word'}`,
  );
}

/** runc logs one line per level; the last says what happened, without time and level. */
export function lastComplaint(text: string): string {
  const line =
    text
      .trim()
      .split('\n')
      .findLast((candidate) => candidate.trim() !== '') ?? '';
  const logged = /msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1];
  return (logged === undefined ? line : logged.replaceAll('\\"', '"').replaceAll('\\n', ' ')).trim();
}
