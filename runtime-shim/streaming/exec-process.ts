// Runs a further program in a running container, through the OCI runtime.
import { randomBytes } from 'node:crypto';
import { readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { identifyProcess, isRunning, type ProcessIdentity } from '../../lib/process-identity.ts';
import { signalExactProcess } from '../host/processes.ts';
import type { Exit, Spawner } from '../host/spawn.ts';
import { execArguments } from '../oci-runtime/conmon.ts';
import { killTree } from '../oci-runtime/monitors.ts';
import { execLimits } from '../oci-runtime/exec-limits.ts';
import type { ExecSpec, KnownSpecs } from '../oci-runtime/known-specs.ts';
import { stringifySpec, type OciProcess } from '../oci-runtime/oci-spec.ts';
import type { ReadyShell } from '../oci-runtime/ready-shell.ts';
import { spawnPiped, type PipedProcess } from '../oci-runtime/run-program.ts';
import type { OciRuntime } from '../oci-runtime/runtime.ts';
import { planCwd } from '../oci-runtime/spec-process.ts';
import { asFolderError } from '../store/record-file.ts';
import { startOnConsole, startOnPty } from './exec-terminal.ts';
import { failedStartCode } from './failed-start.ts';

export interface ExecOptions {
  readonly containerId: string;
  readonly bundle: string;
  readonly command: readonly string[];
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly specs: KnownSpecs;
  /** What may be ready to become the program, where it gets no input and no terminal. */
  readonly shell?: ReadyShell;
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
  const consoleSocket = `${base}.sock`;
  const spec = options.specs.of(options.bundle);
  const plan = (): void => {
    const text = stringifySpec(planProcess(runtime.kind, spec, options));
    try {
      writeFileSync(processFile, text, { mode: 0o600 });
    } catch (error) {
      throw asFolderError(options.bundle, error);
    }
  };
  const command = runtime.command(spec.linux);
  // Without a log file it writes log lines instead of a message to the program's own stderr.
  const logging = ['--log', logFile, '--log-format', 'json'];
  const runtimeArgs = [...command.args, ...logging];
  const { containerId, monitorPath } = options;
  const files = ['--process', processFile, '--pid-file', pidFile];
  const execArgs = (flags: readonly string[]): string[] => [...logging, 'exec', ...flags, containerId];
  const own = (flags: readonly string[]): string[] => [command.path, ...command.args, ...execArgs(flags)];
  let program: ProcessIdentity | undefined;
  const findProgram = (): ProcessIdentity | undefined => {
    const pid = Number(readOrEmpty(pidFile));
    program ??= pid > 0 ? identifyIn(containerId, pid) : undefined;
    return program;
  };
  const common: Common = {
    kill(runtimeProcess) {
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
    dispose() {
      for (const file of [processFile, pidFile, logFile, ...(options.tty ? [consoleSocket] : [])]) unlinkIfThere(file);
    },
  };
  const start = (argv: string[]): Start => ({ spawner, argv, env: command.env, cwd: options.bundle });
  const startChild = (): ExecProcess => {
    if (options.shell && command.inside && !options.tty && !options.stdin && monitorPath === undefined) {
      const { entrances, argv } = command.inside;
      const program = { argv: [...argv, ...execArgs(files)], env: command.env, cwd: options.bundle };
      const child = options.shell.start({ entrances, ...program, prepare: plan });
      if (child) return attach(child, child.identity, common);
    } else {
      plan();
    }
    // A terminal is hung up when its program ends, so nobody can keep that open.
    if (options.tty && runtime.kind === 'crun') {
      // By name, from the working directory: the path may be longer than an address can hold.
      const argv = own(['--console-socket', basename(consoleSocket), ...files]);
      return startOnConsole(start(argv), basename(consoleSocket), common);
    }
    if (options.tty) return startOnPty(start(own(files)), common);
    const conmon = { conmonPath: monitorPath ?? '', runtimePath: command.path, runtimeArgs, containerId };
    const argv =
      monitorPath === undefined
        ? own(files)
        : execArguments({ ...conmon, bundle: options.bundle, processFile, pidFile });
    return startOnPipes(start(argv), options.stdin, common);
  };
  try {
    const child = startChild();
    const exited = child.exited.then((exit) => {
      const code = exit.code === 0 ? undefined : failedStartCode(readOrEmpty(logFile));
      return code === undefined ? exit : { ...exit, code };
    });
    return { ...child, exited };
  } catch (error) {
    try {
      common.dispose();
    } catch {
      // The first failure is the one to tell: a folder that cannot be written can hardly be cleared.
    }
    throw error;
  }
}

/** How to start the runtime, or who starts it. */
export interface Start {
  readonly spawner: Spawner;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
}

/** What does not depend on where the output goes. */
export interface Common {
  kill(runtimeProcess: ProcessIdentity | undefined): void;
  hasProgramEnded(): boolean;
  dispose(): void;
}

function startOnPipes({ spawner, ...start }: Start, stdin: boolean, common: Common): ExecProcess {
  // conmon leaves a note in its working directory when memory runs out: it belongs with the container's own.
  const child = spawnPiped(spawner, { file: start.argv[0] ?? '', ...start, stdin });
  return attach(child, identifyProcess(child.pid), common);
}

function attach(child: PipedProcess, identity: ProcessIdentity | undefined, common: Common): ExecProcess {
  const { exited, stdin, stdout, stderr } = child;
  return { ...common, exited, stdin, stdout, stderr, kill: () => common.kill(identity), resize: () => undefined };
}

function planProcess(kind: OciRuntime['kind'], spec: ExecSpec, { command, tty }: ExecOptions): OciProcess {
  const { oomScoreAdj: _, ...process } = spec.process;
  const hasTerm = process.env.some((entry) => entry.startsWith('TERM='));
  return {
    ...process,
    ...(process.rlimits === undefined ? {} : { rlimits: execLimits(kind, process.rlimits) }),
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

/** One system call, where rmSync() takes three. */
function unlinkIfThere(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return '';
    throw error;
  }
}
