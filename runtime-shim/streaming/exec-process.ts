// Runs a further program in a running container, through the OCI runtime.
import { randomBytes } from 'node:crypto';
import { closeSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Duplex, Readable, Writable } from 'node:stream';
import { ReadStream } from 'node:tty';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { identifyProcess, isRunning, type ProcessIdentity } from '../../lib/process-identity.ts';
import { signalExactProcess } from '../host/processes.ts';
import { openPty, setWindowSize, setWindowSizeOf } from '../host/pty.ts';
import type { Exit, Spawner } from '../host/spawn.ts';
import { bundleFiles, execArguments } from '../oci-runtime/conmon.ts';
import { killTree } from '../oci-runtime/monitors.ts';
import type { OciSpec } from '../oci-runtime/oci-spec.ts';
import { spawnPiped } from '../oci-runtime/run-program.ts';
import type { OciRuntime } from '../oci-runtime/runtime.ts';
import { planCwd } from '../oci-runtime/spec-process.ts';
import { asFolderError } from '../store/record-file.ts';
import { failedStartCode } from './failed-start.ts';

/** A size may come while the runtime starts: after it has read the old one, before the program is there. */
const RESIZE_DELAYS_MS = [0, 50, 250, 1_000];

export interface ExecOptions {
  readonly containerId: string;
  readonly bundle: string;
  readonly command: readonly string[];
  readonly tty: boolean;
  readonly stdin: boolean;
  /** conmon to stand between: see canPassThrough(). Undefined where the runtime itself does well. */
  readonly monitorPath: string | undefined;
}

/** Time for the runtime (or conmon) to reap a program that was killed, and to end by itself. */
const REAP_MS = 1_000;

export interface ExecProcess {
  readonly stdin: Writable | undefined;
  readonly stdout: Readable;
  /** undefined with a terminal: both come through stdout. */
  readonly stderr: Readable | undefined;
  readonly exited: Promise<Exit>;
  resize(columns: number, rows: number): void;
  /**
   * SIGKILL to the program and its children; whoever waits for it (the runtime or conmon) reaps it and ends, or is
   * killed a second later.
   */
  kill(): void;
  /** True once the program itself has ended, whoever may still hold its output open. */
  hasProgramEnded(): boolean;
  /** Removes temporary files; call when done. */
  dispose(): void;
}

/** Starts the program. Invalid for an empty command or a working directory that leads out of the container. */
export function startExec(spawner: Spawner, runtime: OciRuntime, options: ExecOptions): ExecProcess {
  if (options.command.length === 0) throw new WindlassError('Invalid', 'cmd: Required value');
  const base = join(options.bundle, `exec-${randomBytes(8).toString('hex')}`);
  const [processFile, pidFile, logFile] = [`${base}.json`, `${base}.pid`, `${base}.log`];
  const spec = JSON.parse(readFileSync(bundleFiles.config(options.bundle), 'utf8')) as OciSpec;
  const plan = JSON.stringify(planProcess(spec, options));
  try {
    writeFileSync(processFile, plan, { mode: 0o600 });
  } catch (error) {
    rmSync(processFile, { force: true });
    throw asFolderError(options.bundle, error);
  }
  const command = runtime.command(spec.linux, false);
  // Without a log file it writes log lines instead of a message to the program's own stderr.
  const runtimeArgs = [...command.args, '--log', logFile, '--log-format', 'json'];
  const { containerId, monitorPath } = options;
  // A terminal is hung up when its program ends, so nobody can keep that open.
  const argv =
    monitorPath === undefined || options.tty
      ? [command.path, ...runtimeArgs, 'exec', '--process', processFile, '--pid-file', pidFile, containerId]
      : execArguments({
          ...{ conmonPath: monitorPath, runtimePath: command.path, runtimeArgs, containerId, bundle: options.bundle },
          ...{ processFile, pidFile },
        });
  let program: ProcessIdentity | undefined;
  const findProgram = (): ProcessIdentity | undefined => {
    const pid = Number(readOrEmpty(pidFile));
    program ??= pid > 0 ? identifyIn(containerId, pid) : undefined;
    return program;
  };
  const common = {
    findProgram,
    kill(runtimeProcess: ProcessIdentity | undefined): void {
      const found = findProgram();
      if (found) killTree(found);
      if (!runtimeProcess) return;
      // Killed before it has reaped the program, it would leave a zombie to process 1 of the container, which may never
      // look. But it also waits for the output to close, and a process that got away may keep that open for ever.
      if (found) setTimeout(() => signalExactProcess(runtimeProcess, 'SIGKILL'), REAP_MS).unref();
      else signalExactProcess(runtimeProcess, 'SIGKILL');
    },
    hasProgramEnded: () =>
      readOrEmpty(pidFile) !== '' &&
      (findProgram() === undefined || identifyProcess(program?.pid ?? 0)?.startTime !== program?.startTime),
    dispose(): void {
      rmSync(processFile, { force: true });
      rmSync(pidFile, { force: true });
      rmSync(logFile, { force: true });
    },
  };
  try {
    const child = options.tty
      ? startOnTerminal(spawner, argv, command.env, common)
      : startOnPipes(spawner, argv, command.env, options, common);
    const exited = child.exited.then((exit) => {
      const code = exit.code === 0 ? undefined : failedStartCode(readOrEmpty(logFile));
      return code === undefined ? exit : { ...exit, code };
    });
    return { ...child, exited };
  } catch (error) {
    common.dispose();
    throw error;
  }
}

interface Common {
  findProgram(): ProcessIdentity | undefined;
  kill(runtimeProcess: ProcessIdentity | undefined): void;
  hasProgramEnded(): boolean;
  dispose(): void;
}

type Environment = Readonly<Record<string, string>>;

function startOnPipes(
  spawner: Spawner,
  argv: string[],
  env: Environment,
  { stdin, bundle }: ExecOptions,
  common: Common,
): ExecProcess {
  // conmon leaves a note in its working directory when memory runs out: it belongs with the container's own.
  const child = spawnPiped(spawner, { file: argv[0] ?? '', argv, env, cwd: bundle, stdin });
  const identity = identifyProcess(child.pid);
  return { ...common, ...child, kill: () => common.kill(identity), resize: () => undefined };
}

/** The runtime gets the far end of a terminal of ours as its stdio and passes bytes on to the container's own. */
function startOnTerminal(spawner: Spawner, argv: string[], env: Environment, common: Common): ExecProcess {
  const { masterFd, slaveFd } = openPty();
  let child: { pid: number; exited: Promise<Exit> };
  try {
    child = spawner.spawnProcess({
      file: argv[0] ?? '',
      argv,
      env: { PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin', ...env },
      fds: { 0: slaveFd, 1: slaveFd, 2: slaveFd },
      newSession: true,
    });
  } catch (error) {
    closeSync(masterFd);
    throw error;
  } finally {
    closeSync(slaveFd);
  }
  const identity = identifyProcess(child.pid);
  const terminal: Duplex = new ReadStream(masterFd);
  let size = { columns: 0, rows: 0 };
  const passOnSize = (): void => {
    if (terminal.destroyed) return;
    // It is not the runtime's controlling terminal, so the kernel does not tell it.
    if (identity) signalExactProcess(identity, 'SIGWINCH');
    // crun passes a size on at its start only.
    const program = common.findProgram();
    if (program) setWindowSizeOf(program, size.columns, size.rows);
  };
  // EIO is how a terminal says that its other end was closed.
  terminal.on('error', () => terminal.destroy());
  return {
    ...common,
    stdin: terminal,
    stdout: terminal,
    stderr: undefined,
    exited: child.exited,
    kill: () => common.kill(identity),
    resize(columns, rows) {
      if (terminal.destroyed) return;
      setWindowSize(masterFd, columns, rows);
      size = { columns, rows };
      for (const delayMs of RESIZE_DELAYS_MS) setTimeout(passOnSize, delayMs).unref();
    },
  };
}

function planProcess(spec: OciSpec, { command, tty }: ExecOptions): object {
  const { oomScoreAdj: _, ...process } = spec.process;
  const hasTerm = process.env.some((entry) => entry.startsWith('TERM='));
  return {
    ...process,
    terminal: tty,
    args: command,
    env: tty && !hasTerm ? [...process.env, 'TERM=xterm'] : process.env,
    // Looked at anew: the container may have put a link there since it was created.
    cwd: planCwd(spec.root.path, process.cwd),
  };
}

/** The process, if it is one of the container's: the pid of a program that ended long ago may be anybody's. */
function identifyIn(containerId: string, pid: number): ProcessIdentity | undefined {
  const identity = identifyProcess(pid);
  const isItsOwn = identity && readOrEmpty(`/proc/${pid}/cgroup`).includes(containerId) && isRunning(identity);
  return isItsOwn ? identity : undefined;
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return '';
    throw error;
  }
}
