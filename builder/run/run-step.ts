// A RUN instruction: a container of the OCI runtime's, without a monitor, whose output and end this process waits for
// itself. Everything of a step is in its two folders (run-folders.ts) and its control group, which have one name; undoing
// it is ending whoever is in the group and removing these.
import { randomUUID } from 'node:crypto';
import { closeSync, linkSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, type WindlassError } from '../../lib/errors.ts';
import { identifyProcess } from '../../lib/process-identity.ts';
import { createPipe } from '../../runtime-shim/host/pipe.ts';
import type { Exit } from '../../runtime-shim/host/spawn.ts';
import { lastComplaint } from '../../runtime-shim/oci-runtime/conmon.ts';
import { createFilterCache } from '../../runtime-shim/oci-runtime/filter-cache.ts';
import { openEndedPipe } from '../../runtime-shim/oci-runtime/harmless-stdio.ts';
import { killTree } from '../../runtime-shim/oci-runtime/monitors.ts';
import { stringifySpec, type OciSpec } from '../../runtime-shim/oci-runtime/oci-spec.ts';
import { lookOnce } from '../../runtime-shim/oci-runtime/rooted-path.ts';
import type { OciRuntime } from '../../runtime-shim/oci-runtime/runtime.ts';
import { checkRoot } from '../../runtime-shim/oci-runtime/spec-mounts.ts';
import type { RunOperation } from '../operations.ts';
import { createMountPoints, type MountPoints } from './mount-points.ts';
import { createRedactor } from './redactor.ts';
import { makeRunFolders, runFolders } from './run-folders.ts';
import type { Runner, RunnerParts, StepContext } from './runner.ts';
import { describeFailure } from './step-failure.ts';
import { mountStepFiles } from './step-files.ts';
import { prepareMounts } from './step-mounts.ts';
import { createStepOutput, type StepOutput } from './step-output.ts';
import { planStepSpec } from './step-spec.ts';
import { createStepRemover } from './remove-step.ts';

/** For the compiled filter, a millisecond after each other: a runtime that starts has it within a few. */
const MAX_LOOKS = 2000;

interface Step {
  /** Of the container, its folders and its control group. */
  readonly id: string;
  readonly group: string;
  readonly folder: string;
  readonly scratch: string;
}

/** Runs RUN instructions. Nothing is made before the first call. */
export function createRunner(parts: RunnerParts): Runner {
  const { instance, spawner, cgroups, cgroupParent } = parts;
  const folders = runFolders(instance);
  let opened: OciRuntime | undefined;
  const openRuntime = (): OciRuntime => (opened ??= parts.openRuntime(folders.runtime));
  const filters = createFilterCache((stepId) => readIfThere(filterFile(stepId)));
  const removeStep = createStepRemover({ ...parts, folders });
  const filterFile = (stepId: string): string => join(folders.steps, stepId, 'filter');

  function planStep(buildId: string): Step {
    const id = stepName(buildId);
    return {
      id,
      group: `${cgroupParent}/${id}`,
      folder: join(folders.steps, id),
      scratch: join(folders.scratch, id),
    };
  }

  /**
   * A runtime that makes the group removes it, and with it what the kernel counted there: it gets one below ours, which
   * (control groups v2) counts what happens in it.
   */
  const containerGroup = ({ group }: Step): string => (openRuntime().movesProcesses ? `${group}/container` : group);
  const countOomKills = (step: Step): number =>
    [...new Set([step.group, containerGroup(step)]).values()].reduce((sum, path) => sum + cgroups.oomKills(path), 0);

  /** Everything in front of the start. */
  async function prepare(
    step: Step,
    operation: RunOperation,
    context: StepContext,
    points: MountPoints,
    leases: DisposableStack,
  ): Promise<OciSpec> {
    const { root } = context;
    checkRoot(root, lookOnce());
    const network = operation.network === 'none' ? undefined : await context.network?.connect();
    const { folder, scratch } = step;
    const own = await prepareMounts({ caches: parts.caches, folder, scratch, points }, operation, context, leases);
    const files = mountStepFiles({ root, folder, points, network, mounts: own.mounts });
    for (const path of ['/proc', '/dev', '/sys']) points.ensure(path, 'directory', path);
    return planStepSpec({
      ...{ operation, context, cgroupsPath: containerGroup(step), netnsPath: network?.netnsPath },
      ...{ mounts: [...files, ...own.mounts], env: own.env },
      ...{ own: parts.ownCapabilities, profiles: parts.profiles },
    });
  }

  async function runContainer(step: Step, spec: OciSpec, output: StepOutput, signal: AbortSignal): Promise<Exit> {
    const runtime = openRuntime();
    const known = filters.apply(spec);
    writeFileSync(join(step.folder, 'config.json'), stringifySpec(known), { mode: 0o600 });
    const sources = spec.mounts.flatMap(({ source = '' }) => (source.startsWith('/') ? [source] : []));
    const pins = spec.linux.namespaces.flatMap(({ path }) => (path === undefined ? [] : [path]));
    signal.throwIfAborted();
    using command = runtime.command(spec.linux, { root: spec.root.path, sources, pins, logPath: undefined });
    // Nobody is in the group yet.
    command.setLimits();
    // With v1, only the group of the container itself counts: runc is told to leave it (crun joins ours there).
    const keep = runtime.kind === 'runc' ? ['--keep'] : [];
    const own = ['--log', join(step.folder, 'log'), 'run', ...keep, '--bundle', step.folder, step.id];
    const [stdin, pipe] = [openEndedPipe(), createPipe()];
    const reader = new Socket({ fd: pipe.readFd, readable: true, writable: false });
    let child;
    try {
      child = spawner.spawnProcess({
        file: command.path,
        argv: [command.path, ...command.args, ...own],
        env: { PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin', ...command.env },
        fds: { 0: stdin, 1: pipe.writeFd, 2: pipe.writeFd },
        newSession: true,
        mountNamespace: command.mountNamespace,
      });
    } catch (error) {
      reader.destroy();
      throw error;
    } finally {
      for (const fd of [stdin, pipe.writeFd]) closeSync(fd);
    }
    const identity = identifyProcess(child.pid);
    const kill = (): void => {
      // What is in the group, and the runtime itself should it not be there yet.
      cgroups.signalAll(step.group);
      if (identity) killTree(identity);
    };
    const { promise: aborted, resolve: onAborted } = Promise.withResolvers<void>();
    const onAbort = (): void => {
      kill();
      onAborted();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const reading = output.read(reader);
    // Whoever takes the lines may fail: the step must not stay blocked in a write for ever.
    reading.catch(kill);
    try {
      if (known === spec && runtime.kind === 'crun') void keepFilter(step, child.exited);
      const exit = await child.exited;
      // The command has ended, and with it all in its pid namespace; nobody is left to hold the pipe open. Of a step that
      // is given up, what was not taken yet is not waited for.
      await Promise.race([reading, aborted]);
      filters.learn(step.id, spec);
      return exit;
    } finally {
      signal.removeEventListener('abort', onAbort);
      reader.destroy();
    }
  }

  /** The runtime deletes the compiled filter with the container: a second name keeps it, complete, for afterwards. */
  async function keepFilter(step: Step, exited: Promise<Exit>): Promise<void> {
    let isOver = false;
    void exited.then(() => (isOver = true));
    const filter = join(folders.runtime, step.id, 'seccomp.bpf');
    for (let looks = 0; looks < MAX_LOOKS && !isOver; looks += 1) {
      try {
        return linkSync(filter, filterFile(step.id));
      } catch (error) {
        // Not there yet; or the step is over, and its folder gone.
        if (errnoOf(error) !== 'ENOENT') return;
      }
      await sleep(1);
    }
  }

  return {
    async run(operation, context) {
      const { signal } = context;
      signal.throwIfAborted();
      parts.moves.prime();
      // In this order: the runtime may mount the folder above theirs onto itself.
      openRuntime();
      makeRunFolders(folders);
      const step = planStep(context.buildId);
      const redact = createRedactor(secretsOf(operation, context));
      const output = createStepOutput(redact, context.onOutput);
      const points = createMountPoints(context.root);
      using leases = new DisposableStack();
      mkdirSync(step.folder, { mode: 0o700 });
      let failure: WindlassError | undefined;
      let copiedFolders: readonly string[] = [];
      try {
        const spec = await prepare(step, operation, context, points, leases);
        const exit = await runContainer(step, spec, output, signal);
        // Where the parts of a step are on the host says nothing to whoever wrote the instruction.
        const complaint = readComplaint(join(step.folder, 'log'))
          .replaceAll(step.folder, '')
          .replaceAll(context.root, '');
        const args = operation.args.map(redact);
        failure = describeFailure({
          args,
          exit,
          oomKills: countOomKills(step),
          complaint,
          tail: output.tail(),
        });
      } finally {
        await removeStep(step.id);
        copiedFolders = points.remove();
      }
      signal.throwIfAborted();
      if (failure) throw failure;
      return { copiedFolders };
    },
    recover: () => removeStep.strays(),
  };
}

function* secretsOf(operation: RunOperation, { secrets }: StepContext): Iterable<Buffer> {
  for (const mount of operation.mounts) {
    const bytes = mount.type === 'secret' ? secrets.get(mount.id) : undefined;
    if (bytes) yield bytes;
  }
}

/** Names are short enough for the OCI runtime and each kind of file system. */
const stepName = (buildId: string): string =>
  `build-${buildId.replaceAll(/[^A-Za-z0-9_.-]/g, '_').slice(0, 64)}-${randomUUID().slice(0, 13)}`;

/** The last error in the log of the OCI runtime, which has warnings in it too. */
function readComplaint(logFile: string): string {
  const lines = readIfThere(logFile)?.toString('utf8').split('\n') ?? [];
  return lastComplaint(lines.filter((line) => !/ level=(?:warning|info|debug) /.test(line)).join('\n'));
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
