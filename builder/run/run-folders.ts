// Where steps have their own things while they run:
//   <run>/shim/builds                a tmpfs, so that no secret is ever on a disk
//   <run>/shim/builds/runtime        state of the OCI runtime, which holds copies of specifications
//   <run>/shim/builds/steps/<id>     bundle, files, secrets and mounts of a step
//   <home>/builder/steps/<id>        what a step writes and nobody keeps: it may be large
// A step's folders are there before anything else of it, and named as its control group: recovery finds the one by the
// other.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { paths, type Instance } from '../../lib/instance.ts';
import { mountTmpfs } from '../../runtime-shim/host/mount.ts';
import { isMountPoint } from '../../runtime-shim/snapshots/overlay-mounts.ts';

export interface RunFolders {
  readonly builds: string;
  readonly runtime: string;
  readonly steps: string;
  /** On disk. */
  readonly scratch: string;
}

export function runFolders(instance: Instance): RunFolders {
  const builds = join(paths.shimState(instance), 'builds');
  return {
    builds,
    runtime: join(builds, 'runtime'),
    steps: join(builds, 'steps'),
    scratch: join(paths.builder(instance), 'steps'),
  };
}

/** Makes what is missing of them, and mounts the tmpfs if it is not there. */
export function makeRunFolders({ builds, runtime, steps, scratch }: RunFolders): void {
  if (!isMountPoint(builds)) {
    mkdirSync(builds, { recursive: true, mode: 0o700 });
    mountMemory(builds);
  }
  for (const folder of [runtime, steps, scratch]) mkdirSync(folder, { recursive: true, mode: 0o700 });
}

function mountMemory(target: string): void {
  try {
    // Without this, the kernel may write secrets to a swap device.
    mountTmpfs(target, 'mode=700,noswap');
  } catch {
    // Kernels before 6.4 do not know the option, and one without swap needs none.
    mountTmpfs(target, 'mode=700');
  }
}
