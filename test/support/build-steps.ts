// RUN steps without a builder around them: an instance's folders, a busybox tree, and a root on it for each step.
import { chmodSync, closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openCacheMounts, type CacheMounts } from '../../builder/run/cache-mounts.ts';
import { dropCopies } from '../../builder/run/mount-points.ts';
import { createRunner } from '../../builder/run/run-step.ts';
import type { Runner, RunnerParts, StepContext } from '../../builder/run/runner.ts';
import type { RunMount, RunOperation } from '../../builder/operations.ts';
import { describeInstance, kernelNames, paths, type Instance } from '../../lib/instance.ts';
import { createLogger } from '../../lib/log.ts';
import { createLayerApplier, DEFAULT_APPLY_OPTIONS } from '../../oci/layers/apply.ts';
import { openCgroups, type Cgroups } from '../../runtime-shim/cgroups/cgroups.ts';
import { createMovePrimer, noMoves } from '../../runtime-shim/cgroups/move-primer.ts';
import { createLayerFiles } from '../../runtime-shim/host/layer-files.ts';
import { MNT, mountOverlay, umount, umountTree } from '../../runtime-shim/host/mount.ts';
import { createSpawner } from '../../runtime-shim/host/spawn.ts';
import { ownCapabilities } from '../../runtime-shim/oci-runtime/capabilities.ts';
import { findProgram, openOciRuntime } from '../../runtime-shim/oci-runtime/runtime.ts';
import { createSeccompProfiles } from '../../runtime-shim/oci-runtime/seccomp-choice.ts';
import { purgeInstance } from '../../runtime-shim/purge.ts';
import { busyboxFiles, makeTar, type TarItem } from './images.ts';
import { forLeftOvers } from './left-overs.ts';

const PREFIX = 'windlass-steps-';

/** A mounted root of its own, with what was written to it apart. */
export interface StepRoot {
  readonly root: string;
  readonly upper: string;
  /** Unmounts it; paths in the upper folder, which would be in the layer. */
  close(): string[];
}

export interface TestSteps extends AsyncDisposable {
  readonly instance: Instance;
  readonly runner: Runner;
  readonly caches: CacheMounts;
  readonly cgroups: Cgroups;
  readonly cgroupParent: string;
  readonly parts: RunnerParts;
  /** Folder for whatever a test needs besides. */
  readonly scratch: string;
  /** On the busybox tree, with `items` above it. */
  openRoot(items?: readonly TarItem[]): StepRoot;
  /** A folder with these entries. */
  makeTree(items: readonly TarItem[]): string;
  /** Runs a shell command in `root`; returns what it printed. */
  run(root: StepRoot, command: string | readonly string[], options?: RunOptions): Promise<string[]>;
}

export interface RunOptions extends Partial<Omit<StepContext, 'onOutput' | 'root'>> {
  readonly mounts?: readonly RunMount[];
  readonly operation?: Partial<RunOperation>;
  readonly onOutput?: StepContext['onOutput'];
}

/** Runtimes of this machine that tests of steps go through. */
export const runtimes = (): string[] => ['crun', 'runc'].filter((name) => findProgram(name) !== undefined);

/** @param options.root where to have its folders; what is there already, from a process that was killed, stays. */
export async function openTestSteps(
  options: { readonly ociRuntime?: string; readonly root?: string } = {},
): Promise<TestSteps> {
  const purge = async (root: string): Promise<void> => {
    await purgeInstance(describeInstance(join(root, 'home'), join(root, 'run')));
    umountTree(root);
    rmSync(root, { recursive: true, force: true });
  };
  await forLeftOvers(PREFIX, purge);
  const root = options.root ?? mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  chmodSync(root, 0o711);
  const instance = describeInstance(join(root, 'home'), join(root, 'run'));
  const [state, snapshots] = [paths.shimState(instance), paths.snapshots(instance)];
  for (const folder of [state, snapshots]) mkdirSync(folder, { recursive: true, mode: 0o711 });
  const base = join(snapshots, 'base');
  const points = join(snapshots, 'mount-points');
  if (!existsSync(base)) {
    apply(base, busyboxFiles());
    for (const name of ['dev', 'etc', 'proc', 'sys']) mkdirSync(join(points, name), { recursive: true });
    for (const name of ['hosts', 'hostname', 'resolv.conf']) closeSync(openSync(join(points, 'etc', name), 'a', 0o644));
  }
  const cgroups = openCgroups();
  const cgroupParent = kernelNames.cgroupParent(instance);
  cgroups.create(cgroupParent);
  const spawner = createSpawner();
  const caches = openCacheMounts({ spawner, folder: join(paths.builder(instance), 'caches'), now: () => Date.now() });
  const openRuntime = (folder: string) =>
    openOciRuntime(options.ociRuntime ?? 'crun', folder, spawner, { mountFolders: [state, snapshots] });
  // As the shim does: from here on what is mounted in these folders is seen by the runtime too.
  openRuntime(join(state, 'runtime'));
  const parts: RunnerParts = {
    ...{ instance, spawner, openRuntime, cgroups, cgroupParent, caches },
    log: createLogger('test', 'error'),
    moves: options.ociRuntime === 'runc' ? createMovePrimer() : noMoves,
    profiles: createSeccompProfiles(),
    ownCapabilities: ownCapabilities(),
  };
  const runner = createRunner(parts);
  let count = readdirSync(snapshots).length;
  /** Of each root, by its steps. */
  const copied = new Map<string, readonly string[]>();
  const next = (): string => join(snapshots, `root-${(count += 1)}`);
  return {
    ...{ instance, runner, caches, cgroups, cgroupParent, parts, scratch: root },
    openRoot(items = []) {
      const own = next();
      const [lower, upper, work, merged] = ['lower', 'upper', 'work', 'merged'].map((name) => join(own, name)) as [
        ...[string, string, string, string],
      ];
      for (const folder of [upper, work, merged]) mkdirSync(folder, { recursive: true, mode: 0o755 });
      apply(lower, items);
      mountOverlay({ lowerDirs: [lower, base, points], upperDir: upper, workDir: work, target: merged });
      return {
        ...{ root: merged, upper },
        close() {
          umount(merged, MNT.detach);
          dropCopies(upper, [lower, base, points], copied.get(merged) ?? []);
          return readdirSync(upper, { recursive: true })
            .map((name) => String(name))
            .toSorted();
        },
      };
    },
    makeTree(items) {
      const folder = next();
      apply(folder, items);
      return folder;
    },
    async run({ root: stepRoot }, command, { mounts = [], operation = {}, onOutput, ...context } = {}) {
      const lines: string[] = [];
      const { copiedFolders } = await runner.run(
        {
          ...{
            kind: 'run',
            env: ['PATH=/bin'],
            proxyEnv: [],
            cwd: '/',
            user: '',
            mounts,
            network: 'default',
            volumes: [],
          },
          args: typeof command === 'string' ? ['/bin/sh', '-c', command] : command,
          ...operation,
        },
        {
          ...{ buildId: 'test', root: stepRoot, secrets: new Map(), network: undefined },
          sourceOf: (from) => {
            throw new Error(`no source ${from.kind}`);
          },
          signal: new AbortController().signal,
          onOutput: onOutput ?? ((line) => void lines.push(line)),
          ...context,
        },
      );
      const before = copied.get(stepRoot) ?? [];
      copied.set(
        stepRoot,
        [...new Set([...before, ...copiedFolders])].toSorted((a, b) => b.split('/').length - a.split('/').length),
      );
      return lines;
    },
    async [Symbol.asyncDispose]() {
      await purge(root);
    },
  };
}

function apply(root: string, items: readonly TarItem[]): void {
  mkdirSync(root, { recursive: true, mode: 0o755 });
  const applier = createLayerApplier(root, createLayerFiles(), DEFAULT_APPLY_OPTIONS);
  applier.reader.write(makeTar(items));
  applier.reader.end();
  applier.finish();
}
