// A shell that is kept ready to become the next program run in a container. To start a process, link a shell and make
// pipes for it takes as long as half of the runtime's own work: here it is over before the program is asked for.
import { closeSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { errnoOf } from '../../lib/errors.ts';
import { identifyProcess, type ProcessIdentity } from '../../lib/process-identity.ts';
import { createPipe } from '../host/pipe.ts';
import { signalExactProcess } from '../host/processes.ts';
import type { Exit, Spawner } from '../host/spawn.ts';
import { openEndedPipe } from './harmless-stdio.ts';
import type { PipedProcess } from './run-program.ts';
import { shellQuote } from './shell-quote.ts';

/** What a shell does before it becomes the program, and what that is. */
export interface ShellTask {
  /** Files of control groups that it enters. */
  readonly entrances: readonly string[];
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /**
   * What the program needs and the shell does not: done while the shell enters the groups, and where no shell is ready, too.
   * If it throws, no program starts and start() throws the same.
   */
  readonly prepare?: () => void;
}

export interface ReadyShell extends Disposable {
  /**
   * Has the shell that is ready do the task; undefined when none is, and then all that was done is what the task prepares.
   * Either way one will be ready again a moment after the last task, so that nobody waits for that.
   */
  start(task: ShellTask): (PipedProcess & { readonly identity: ProcessIdentity | undefined }) | undefined;
}

interface Waiting {
  readonly pid: number;
  readonly identity: ProcessIdentity | undefined;
  readonly exited: Promise<Exit>;
  readonly stdout: Socket;
  readonly stderr: Socket;
  readonly scriptFd: number;
  readonly mountNamespace: number | undefined;
  hasEnded: boolean;
}

/** By then the answer to a short task is on its way. */
const REST_MS = 20;
/** What a pipe takes without a reader. */
const MAX_SCRIPT_BYTES = 64 * 1024;
const SCRIPT_FD = 3;

/** None is ready until the first task was asked for. `findNamespace` says in which mount namespace it is to wait. */
export function createReadyShell(
  spawner: Spawner,
  findNamespace: () => number | undefined = () => undefined,
): ReadyShell {
  let waiting: Waiting | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;

  const prepare = (): void => {
    if (isClosed || (waiting && !waiting.hasEnded)) return;
    if (waiting) discard(waiting);
    waiting = undefined;
    try {
      waiting = startShell(spawner, findNamespace());
    } catch (error) {
      // Too many processes or open files, for now: the next task starts one itself, and says so if it cannot either.
      if (errnoOf(error) === undefined) throw error;
    }
  };

  /** The shell that is ready, which has begun with the task. */
  const begin = (approach: Buffer): Waiting | undefined => {
    const shell = waiting;
    waiting = undefined;
    if (!shell) return undefined;
    if (!shell.hasEnded && shell.mountNamespace === findNamespace() && write(shell.scriptFd, approach)) return shell;
    discard(shell);
    return undefined;
  };

  return {
    start(task) {
      clearTimeout(timer);
      const { approach, become } = scriptOf(task);
      const shell = approach.length + become.length > MAX_SCRIPT_BYTES ? undefined : begin(approach);
      try {
        task.prepare?.();
      } catch (error) {
        if (shell) discard(shell);
        throw error;
      }
      if (!isClosed) timer = setTimeout(prepare, REST_MS).unref();
      if (!shell) return undefined;
      // A shell that could not enter a group has ended by now, and its exit says so.
      write(shell.scriptFd, become);
      // The end of its script: some shells wait for it.
      closeSync(shell.scriptFd);
      const { pid, identity, exited, stdout, stderr } = shell;
      return { pid, identity, exited, stdin: undefined, stdout, stderr };
    },
    [Symbol.dispose]() {
      isClosed = true;
      clearTimeout(timer);
      if (waiting) discard(waiting);
      waiting = undefined;
    },
  };
}

function startShell(spawner: Spawner, mountNamespace: number | undefined): Waiting {
  const [out, err, script] = [createPipe(), createPipe(), createPipe()];
  const stdin = openEndedPipe();
  try {
    const { pid, exited } = spawner.spawnProcess({
      file: '/bin/sh',
      argv: ['/bin/sh', `/dev/fd/${SCRIPT_FD}`],
      env: { PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin' },
      fds: { 0: stdin, 1: out.writeFd, 2: err.writeFd, [SCRIPT_FD]: script.readFd },
      newSession: true,
      mountNamespace,
    });
    const reader = (fd: number): Socket => new Socket({ fd, readable: true, writable: false });
    const shell: Waiting = {
      ...{ pid, exited, identity: identifyProcess(pid), scriptFd: script.writeFd, hasEnded: false },
      mountNamespace,
      ...{ stdout: reader(out.readFd), stderr: reader(err.readFd) },
    };
    void exited.then(() => (shell.hasEnded = true));
    return shell;
  } catch (error) {
    for (const fd of [out.readFd, err.readFd, script.writeFd]) closeSync(fd);
    throw error;
  } finally {
    for (const fd of [stdin, out.writeFd, err.writeFd, script.readFd]) closeSync(fd);
  }
}

/** False when nobody is left to read. */
function write(fd: number, script: Buffer): boolean {
  try {
    return writeSync(fd, script) === script.length;
  } catch (error) {
    if (errnoOf(error) === 'EPIPE') return false;
    throw error;
  }
}

/** Ends a shell that nothing was asked of. */
function discard(shell: Waiting): void {
  if (shell.identity) signalExactProcess(shell.identity, 'SIGKILL');
  closeSync(shell.scriptFd);
  shell.stdout.destroy();
  shell.stderr.destroy();
}

/**
 * What the shell does first, and how it becomes the program. One command a line: a shell carries them out while it reads.
 * What follows `exec` has no descriptor of the shell's.
 */
export function scriptOf({ entrances, argv, env, cwd }: ShellTask): {
  readonly approach: Buffer;
  readonly become: Buffer;
} {
  const or = '|| exit 125';
  const approach = [
    `cd ${shellQuote(cwd)} ${or}`,
    ...entrances.map((file) => `echo 0 >${shellQuote(file)} ${or}`),
    ...Object.entries(env).map(([key, value]) => `export ${key}=${shellQuote(value)}`),
    '',
  ];
  const become = `exec ${argv.map(shellQuote).join(' ')} ${SCRIPT_FD}<&-\n`;
  return { approach: Buffer.from(approach.join('\n')), become: Buffer.from(become) };
}
