// The end of a step, whatever became of it; and of the steps that a killed process left.
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, reasonOf } from '../../lib/errors.ts';
import { umountTree } from '../../runtime-shim/host/mount.ts';
import { isMountPoint } from '../../runtime-shim/snapshots/overlay-mounts.ts';
import { endProcesses, findByArgument } from '../../runtime-shim/oci-runtime/monitors.ts';
import { removeTree } from '../../runtime-shim/snapshots/remove-tree.ts';
import type { RunFolders } from './run-folders.ts';
import type { RunnerParts } from './runner.ts';

const STEP_MS = 60_000;

export interface StepRemover {
  /** Ends whoever is left of the step and removes its mounts, folders and control group; gone = success. */
  (stepId: string): Promise<void>;
  /** The same for every step that is found. For the start of the process: it knows of none then. */
  strays(): Promise<void>;
}

export function createStepRemover({
  cgroups,
  cgroupParent,
  log,
  folders,
}: Pick<RunnerParts, 'cgroups' | 'cgroupParent' | 'log'> & { readonly folders: RunFolders }): StepRemover {
  const { builds, runtime, steps, scratch } = folders;

  async function removeGroup(group: string): Promise<void> {
    const signal = AbortSignal.timeout(STEP_MS);
    for (;;) {
      await cgroups.killAll(group, signal);
      try {
        return cgroups.remove(group);
      } catch (error) {
        // A killed process leaves its group a moment after its pid is gone.
        if (reasonOf(error) !== 'Conflict') throw error;
      }
      await sleep(1, undefined, { signal });
    }
  }

  async function remove(stepId: string): Promise<void> {
    await removeGroup(`${cgroupParent}/${stepId}`);
    // With everybody dead, what the OCI runtime knows of the container is but a folder.
    rmSync(join(runtime, stepId), { recursive: true, force: true });
    const folder = join(steps, stepId);
    if (listNames(folder).some((name) => isMountPoint(join(folder, name)))) umountTree(folder);
    rmSync(folder, { recursive: true, force: true });
    // Most have none, and to see that costs less than to look whether it is small.
    if (existsSync(join(scratch, stepId))) await removeTree(join(scratch, stepId));
  }

  return Object.assign(remove, {
    async strays() {
      const found = new Set([steps, scratch].flatMap(listNames));
      if (found.size > 0) {
        // An OCI runtime that was at work when its process was killed has the step's folder among its arguments.
        const working = findByArgument((argument) => argument.startsWith(`${steps}/`));
        await endProcesses(working, 0, AbortSignal.timeout(STEP_MS));
      }
      for (const stepId of found) {
        try {
          await remove(stepId);
          log.info({ step: stepId }, 'removed what was left of a build step');
        } catch (error) {
          log.error({ step: stepId, err: error }, 'failed to remove what is left of a build step');
        }
      }
      if (existsSync(builds)) umountTree(builds);
      rmSync(builds, { recursive: true, force: true });
    },
  });
}

function listNames(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
