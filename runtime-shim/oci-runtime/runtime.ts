// The OCI runtime program (runc or crun) by its command contract.
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, delimiter, isAbsolute, join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { readKernelText } from '../../lib/kernel-file.ts';
import { isRunning, readProcess, type ProcessIdentity } from '../../lib/process-identity.ts';
import { openCgroups, parseCgroupMounts } from '../cgroups/cgroups.ts';
import { ownLimits } from '../cgroups/own-groups.ts';
import { canMakeMountViews } from '../host/mount-view.ts';
import { createPipe } from '../host/pipe.ts';
import type { Spawner } from '../host/spawn.ts';
import { lastComplaint } from './conmon.ts';
import { openEndedPipe } from './harmless-stdio.ts';
import { hidingArguments, mountAbove, mountToHide } from './hidden-mount.ts';
import type { OciSpec } from './oci-spec.ts';
import { openJoiningCommand, type CreationPaths, type JoiningOptions, type RuntimeCommand } from './runtime-command.ts';
import { runProgram } from './run-program.ts';
import { planStandingView } from './standing-view.ts';
import { planExecView } from './exec-view.ts';

/** The first looks for the program follow each other at once: it takes a fraction of a millisecond. */
const LOOKS_AT_ONCE = 8;
const MAX_LOOKS = 200;

export interface OciRuntime {
  readonly kind: 'runc' | 'crun';
  /** The runtime itself, for people to read. */
  readonly program: string;
  /** What is executed. */
  readonly path: string;
  /** Arguments before every command: what leads to the runtime if `path` is not itself, and where it keeps its state. */
  readonly globalArgs: readonly string[];
  /** True when it moves the processes of a container into their groups itself. */
  readonly movesProcesses: boolean;
  /**
   * Creates and starts a container without a monitor: its output is dropped and nobody learns its exit code. Returns the
   * pid of its first process.
   */
  runDetached(containerId: string, bundle: string, signal: AbortSignal): Promise<number>;
  /**
   * What to execute instead of `path` and `globalArgs` for a command of the container with this specification; one for
   * its `creation` gets its control group made where the runtime is not to do that. Disposed when the command is done.
   */
  command(linux: Pick<OciSpec['linux'], 'cgroupsPath' | 'resources'>, creation?: CreationPaths): RuntimeCommand;
  /** Where a shell is to be started that becomes `command().inside`; undefined = anywhere. */
  execNamespace(): number | undefined;
  /** Lets a created container run its program. Conflict when it ended before. */
  start(containerId: string, init: ProcessIdentity, signal: AbortSignal): Promise<void>;
  /** True while a created container waits to be started. */
  isWaiting(containerId: string): boolean;
  /** The filter that a created container was given, as the kernel takes it; undefined when the runtime keeps none. */
  readFilter(containerId: string): Buffer | undefined;
  /** Removes what the runtime knows of the container, killing `init` (or whatever it is) if it is left; unknown = success. */
  delete(containerId: string, init: ProcessIdentity | undefined, signal: AbortSignal): Promise<void>;
}

/** Absolute path of a program of the PATH; undefined when there is none. */
export function findProgram(name: string, path = process.env['PATH'] ?? ''): string | undefined {
  const folders = [...path.split(delimiter), '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
  return folders
    .filter(isAbsolute)
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch (error) {
    if (['ENOENT', 'EACCES', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return false;
    throw error;
  }
}

/** Absolute path of the program that a setting stands for. Unavailable when it is not installed. */
export function findOciRuntime(setting: string): string {
  const names = setting === 'auto' ? ['runc', 'crun'] : [setting];
  const found = names.map((name) => (isAbsolute(name) ? name : findProgram(name))).find((file) => file !== undefined);
  if (found !== undefined && isExecutable(found)) return found;
  throw new WindlassError('Unavailable', `OCI runtime ${setting === 'auto' ? 'runc' : setting} is not installed`);
}

export interface OciRuntimeOptions {
  /** Where this process mounts what containers are made of. */
  readonly mountFolders?: readonly string[];
  /** Set for every command of a container. */
  env?(): Readonly<Record<string, string>>;
}

/** `auto` (runc, else crun), `runc`, `crun` or a path. `root` is the runtime's state folder. */
export function openOciRuntime(
  setting: string,
  root: string,
  spawner: Spawner,
  { mountFolders = [], env = () => ({}) }: OciRuntimeOptions = {},
): OciRuntime {
  const mountinfo = readKernelText('/proc/self/mountinfo');
  const found = findOciRuntime(setting);
  const kind = found.endsWith('crun') ? 'crun' : 'runc';
  const hidden = kind === 'crun' ? mountToHide(parseCgroupMounts(mountinfo)) : undefined;
  const path = hidden === undefined ? found : (findProgram('unshare') ?? '/usr/bin/unshare');
  const globalArgs = [...(hidden === undefined ? [] : hidingArguments(found, hidden, mountinfo)), ...['--root', root]];
  const joining = kind === 'crun' ? planJoining(found, root, mountinfo, mountFolders, env) : undefined;
  const run = (args: readonly string[], signal: AbortSignal) =>
    runProgram(spawner, { file: path, argv: [path, ...globalArgs, ...args], signal });
  return {
    kind,
    program: found,
    path,
    globalArgs,
    movesProcesses: joining === undefined,
    command(linux, creation) {
      const limits = joining && ownLimits(linux.resources);
      if (!joining || !limits) {
        const inside = creation ? undefined : { entrances: [], argv: [path, ...globalArgs] };
        const nothing = (): undefined => undefined;
        return {
          ...{ path, args: globalArgs, env: env(), inside, mountNamespace: undefined },
          ...{ setLimits: nothing, [Symbol.dispose]: nothing },
        };
      }
      return openJoiningCommand(joining, { path: linux.cgroupsPath, limits }, creation);
    },
    execNamespace: joining ? planExecView({ ...joining, mountFolders }) : () => undefined,
    isWaiting: (containerId) => existsSync(join(root, containerId, 'exec.fifo')),
    async runDetached(containerId, bundle, signal) {
      const [pidFile, logFile] = [join(bundle, 'pid'), join(bundle, 'log')];
      const own = ['--log', logFile, 'run', '--detach', '--bundle', bundle, '--pid-file', pidFile, containerId];
      const [stdin, output] = [openEndedPipe(), createPipe()];
      const env = { PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin' };
      const fds = { 0: stdin, 1: output.writeFd, 2: output.writeFd };
      let code: number | undefined;
      try {
        const argv = [path, ...globalArgs, ...own];
        const child = spawner.spawnProcess({ file: path, argv, env, cwd: bundle, fds, newSession: true });
        const kill = (): void => void process.kill(child.pid, 'SIGKILL');
        signal.addEventListener('abort', kill, { once: true });
        // Its end is waited for, not that of its output: what was started has that open for as long as it lives.
        ({ code } = await child.exited.finally(() => signal.removeEventListener('abort', kill)));
      } finally {
        for (const fd of [stdin, output.readFd, output.writeFd]) closeSync(fd);
      }
      signal.throwIfAborted();
      if (code === 0) return Number(readFileSync(pidFile, 'utf8'));
      const complaint = lastComplaint(existsSync(logFile) ? readFileSync(logFile, 'utf8') : '');
      throw new WindlassError('Internal', `failed to run ${containerId}: ${complaint}`);
    },
    async start(containerId, init, signal) {
      const fifo = join(root, containerId, 'exec.fifo');
      const look = (): Phase => phaseOf(init, kind, found);
      const runs = (): boolean => look() === 'program';
      if (existsSync(fifo)) {
        await (kind === 'runc' ? releaseInit(fifo, init, runs, signal) : wakeInit(fifo, look, signal));
        await untilProgramRuns(look);
        return;
      }
      // A shim that died right after the start has taken the fifo away, but had no time to record it.
      if (runs()) return;
      const { code, stderr } = await run(['start', containerId], signal);
      if (code !== 0) {
        throw new WindlassError('Internal', `failed to start container ${containerId}: ${lastComplaint(stderr)}`);
      }
    },
    readFilter(containerId) {
      try {
        return readFileSync(join(root, containerId, 'seccomp.bpf'));
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return undefined;
        throw error;
      }
    },
    async delete(containerId, init, signal) {
      const state = join(root, containerId);
      if (!existsSync(state)) return;
      // With the process gone and the control groups in other hands, the state is all that is left to remove.
      if (init && !isRunning(init)) return rmSync(state, { recursive: true, force: true });
      const { code, stderr } = await run(['delete', '--force', containerId], signal);
      if (code !== 0 && !/does not exist/.test(stderr)) {
        throw new WindlassError('Internal', `failed to delete container ${containerId}: ${lastComplaint(stderr)}`);
      }
    },
  };
}

/** How crun is handed its groups; undefined on a host where it makes them itself without being slow. */
function planJoining(
  program: string,
  root: string,
  mountinfo: string,
  mountFolders: readonly string[],
  env: JoiningOptions['env'],
): JoiningOptions | undefined {
  const mounts = parseCgroupMounts(mountinfo);
  const nsenter = findProgram('nsenter');
  if (!mounts.v1.has('memory') || !mounts.v1.has('devices') || nsenter === undefined || !canMakeMountViews())
    return undefined;
  const mountPoint = mountToHide(mounts);
  // Of the same name: by that an init that waits is told from the program it becomes.
  const sealedProgram = join(root, '..', 'sealed', basename(program));
  const hidden = mountPoint === undefined ? undefined : { mountPoint, around: mountAbove(mountinfo, mountPoint) };
  // In the view nothing below `around` reaches the original any more: that must not be more than the hierarchies.
  if (hidden && hidden.around === '/') return undefined;
  const standingView = planStandingView(mountPoint, mountFolders);
  return { program, sealedProgram, root, cgroups: openCgroups(mountinfo), mounts, nsenter, hidden, standingView, env };
}

/**
 * What `runc start` does, without a process: the container's init waits in open(2) for a reader of this fifo, writes a
 * byte and runs the program. Opened without blocking, since an init that died would never come to write.
 */
async function releaseInit(
  fifo: string,
  init: ProcessIdentity,
  runs: () => boolean,
  signal: AbortSignal,
): Promise<void> {
  const fd = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const byte = Buffer.alloc(1);
    // A start that a killed shim had begun took the byte: then the program runs, and none will come.
    while (!hasByte(fd, byte) && !runs()) {
      signal.throwIfAborted();
      if (!isRunning(init)) {
        // A short program can have ended between the two looks: its byte is there.
        if (hasByte(fd, byte)) break;
        throw new WindlassError('Conflict', 'the container ended before it was started');
      }
      await sleep(1, undefined, { signal });
    }
  } finally {
    closeSync(fd);
  }
  rmSync(fifo, { force: true });
}

/**
 * A moment passes between the last step of the runtime's init and the program that takes its place: whoever is told that
 * a container runs must not find the former. Bounded, since a program can have the runtime's own name.
 */
async function untilProgramRuns(look: () => Phase): Promise<void> {
  for (let looks = 0; looks < MAX_LOOKS && look() === 'init'; looks += 1) {
    await (looks < LOOKS_AT_ONCE ? nextTurn() : sleep(1));
  }
}

type Phase = 'init' | 'program' | 'ended';

/** Whether the process runs the runtime's own code, or the container's program by now. */
function phaseOf(init: ProcessIdentity, kind: 'runc' | 'crun', program: string): Phase {
  const now = readProcess(init.pid);
  if (now?.startTime !== init.startTime) return 'ended';
  // runc names its init itself; crun keeps the name of its file, which the kernel cuts to 15 bytes.
  const isInit = kind === 'runc' ? now.name.startsWith('runc:[') : now.name === basename(program).slice(0, 15);
  return isInit ? 'init' : 'program';
}

/** The same for crun, whose init waits the other way round: it reads, and whoever starts it writes. */
async function wakeInit(fifo: string, look: () => Phase, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const phase = look();
    if (phase === 'program') return rmSync(fifo, { force: true });
    if (phase === 'ended') throw new WindlassError('Conflict', 'the container ended before it was started');
    try {
      const fd = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
      // Unlinked before the byte: a second start must not find it.
      rmSync(fifo, { force: true });
      writeSync(fd, Buffer.of(0));
      closeSync(fd);
      return;
    } catch (error) {
      // No reader yet: crun reports the container as created a moment before its init opens the fifo.
      if (errnoOf(error) !== 'ENXIO') throw error;
    }
    await sleep(1, undefined, { signal });
  }
}

function hasByte(fd: number, buffer: Buffer): boolean {
  try {
    return readSync(fd, buffer, 0, 1, null) > 0;
  } catch (error) {
    if (errnoOf(error) === 'EAGAIN') return false;
    throw error;
  }
}
