// posix_spawn: unlike node:child_process it does not copy the page tables of a large heap, so a start costs 0.3 ms of
// the event loop whatever the size of this process. Children are reaped on SIGCHLD, one waitpid per known pid, which
// leaves libuv's own children alone. Main thread only.
import { closeSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import { check, libc, SystemError } from './libc.ts';
import { inMountNamespace } from './mount-namespace.ts';

export interface SpawnOptions {
  /** Absolute path of the program. */
  readonly file: string;
  /** argv[0] included. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Child fd -> fd of this process. 0, 1 and 2 are /dev/null unless given; every other fd is closed in the child. */
  readonly fds?: Readonly<Record<number, number>>;
  /** Start a new session, away from the terminal and its signals. */
  readonly newSession?: boolean;
  /** Mount namespace to start it in, in which `file` and `cwd` are looked up. */
  readonly mountNamespace?: number | undefined;
}

export interface Exit {
  /** Undefined when a signal ended the process. */
  readonly code: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
}

export interface SpawnedProcess {
  readonly pid: number;
  /** Resolves when the process ended and was reaped. Never rejects. */
  readonly exited: Promise<Exit>;
}

export interface Spawner {
  spawnProcess(options: SpawnOptions): SpawnedProcess;
}

const SPAWN = { setSignalDefaults: 0x04, setSignalMask: 0x08, setSession: 0x80 } as const;
const F_DUPFD_CLOEXEC = 1030;
const WNOHANG = 1;
// Larger than any child fd that is asked for, so that no dup2 overwrites a source that is still needed.
const FIRST_PARKED_FD = 64;

/** A spawner with its own table of children; one per process is enough. */
export function createSpawner(): Spawner {
  const waiting = new Map<number, (exit: Exit) => void>();
  let safetyNet: NodeJS.Timeout | undefined;

  const reap = (): void => {
    for (const [pid, resolve] of waiting) {
      const exit = collect(pid);
      if (!exit) continue;
      waiting.delete(pid);
      resolve(exit);
    }
    if (waiting.size === 0) {
      clearInterval(safetyNet);
      safetyNet = undefined;
      process.off('SIGCHLD', reap);
    }
  };

  return {
    spawnProcess(options) {
      if (waiting.size === 0) {
        process.on('SIGCHLD', reap);
        // Signals merge and their handle does not keep the loop alive; this interval does, and looks again.
        safetyNet = setInterval(reap, 1000);
      }
      try {
        const pid = posixSpawn(options);
        const { promise, resolve } = Promise.withResolvers<Exit>();
        waiting.set(pid, resolve);
        return { pid, exited: promise };
      } catch (error) {
        reap();
        throw error;
      }
    },
  };
}

function collect(pid: number): Exit | undefined {
  const status = Buffer.alloc(4);
  const result = libc.waitpid(pid, status, WNOHANG);
  if (result === 0) return undefined;
  // ECHILD: someone else reaped it; its status is lost.
  return result === -1 ? { code: undefined, signal: undefined } : parseWaitStatus(status.readInt32LE(0));
}

/** Decodes a wait status (wait(2)). */
export function parseWaitStatus(status: number): Exit {
  const signalNumber = status & 0x7f;
  if (signalNumber === 0) return { code: (status >> 8) & 0xff, signal: undefined };
  const name = Object.entries(constants.signals).find(([, number]) => number === signalNumber)?.[0];
  return { code: undefined, signal: (name ?? 'SIGKILL') as NodeJS.Signals };
}

function posixSpawn(options: SpawnOptions): number {
  // glibc's opaque types are 80 and 336 bytes on 64-bit; larger does not matter.
  const [actions, attributes, pid] = [Buffer.alloc(256), Buffer.alloc(512), Buffer.alloc(4)];
  const parked: number[] = [];
  expect(libc.posixSpawnActions.init(actions), 'posix_spawn_file_actions_init');
  expect(libc.posixSpawnAttributes.init(attributes), 'posix_spawnattr_init');
  try {
    planFds(actions, options.fds ?? {}, parked);
    if (options.cwd !== undefined) expect(libc.posixSpawnActions.chdir(actions, options.cwd), 'posix_spawn_chdir');
    planSignals(attributes, options.newSession ?? false);
    const env = Object.entries(options.env).map(([key, value]) => `${key}=${value}`);
    const start = (): number =>
      libc.posixSpawn(pid, options.file, actions, attributes, withEnd(options.argv), withEnd(env));
    const { mountNamespace } = options;
    expect(
      mountNamespace === undefined ? start() : inMountNamespace(mountNamespace, start),
      'posix_spawn',
      options.file,
    );
    return pid.readInt32LE(0);
  } finally {
    libc.posixSpawnActions.destroy(actions);
    libc.posixSpawnAttributes.destroy(attributes);
    for (const fd of parked) closeSync(fd);
  }
}

function planFds(actions: Buffer, fds: Readonly<Record<number, number>>, parked: number[]): void {
  const wanted = new Map(Object.entries(fds).map(([child, parent]) => [Number(child), parent]));
  const last = Math.max(2, ...wanted.keys());
  if (last >= FIRST_PARKED_FD) throw new RangeError(`child fd ${last} is not below ${FIRST_PARKED_FD}`);
  let nullFd: number | undefined;
  for (let child = 0; child <= last; child += 1) {
    let parent = wanted.get(child);
    if (parent === undefined && child <= 2) {
      if (nullFd === undefined) parked.push((nullFd = openSync('/dev/null', 'r+')));
      parent = nullFd;
    }
    if (parent === undefined) {
      expect(libc.posixSpawnActions.close(actions, child), 'posix_spawn_close');
      continue;
    }
    const source = check(libc.fcntl(parent, F_DUPFD_CLOEXEC, FIRST_PARKED_FD), 'fcntl', `fd ${parent}`);
    parked.push(source);
    expect(libc.posixSpawnActions.dup2(actions, source, child), 'posix_spawn_dup2');
  }
  expect(libc.posixSpawnActions.closeFrom(actions, last + 1), 'posix_spawn_closefrom');
}

/** Node ignores SIGPIPE and may block others: a child starts with defaults and an empty mask. */
function planSignals(attributes: Buffer, newSession: boolean): void {
  expect(libc.posixSpawnAttributes.setSignalDefaults(attributes, Buffer.alloc(128, 0xff)), 'posix_spawn_sigdefault');
  expect(libc.posixSpawnAttributes.setSignalMask(attributes, Buffer.alloc(128)), 'posix_spawn_sigmask');
  const flags = SPAWN.setSignalDefaults | SPAWN.setSignalMask | (newSession ? SPAWN.setSession : 0);
  expect(libc.posixSpawnAttributes.setFlags(attributes, flags), 'posix_spawn_flags');
}

/** posix_spawn functions return the error number itself. */
function expect(errno: number, syscall: string, path?: string): void {
  if (errno !== 0) throw new SystemError(errno, syscall, path);
}

/** A C vector of strings ends with a null pointer, which koffi writes for null. */
const withEnd = (texts: readonly string[]): string[] => [...texts, null as unknown as string];
