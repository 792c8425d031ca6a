// Control groups at the end of their use.
import { setTimeout as sleep } from 'node:timers/promises';
import { isNotFound, reasonOf } from '../../lib/errors.ts';
import type { Shim } from './deps.ts';

/** SIGKILL to everything in the control group, paused or not; returns when the group is empty. */
export async function killGroup(shim: Shim, path: string, signal: AbortSignal): Promise<void> {
  try {
    if (shim.cgroups.isFrozen(path)) shim.cgroups.thaw(path);
    await shim.cgroups.killAll(path, signal);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** Removes the group; absent = success. */
export async function removeCgroup(shim: Shim, path: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      shim.cgroups.remove(path);
      return;
    } catch (error) {
      // A killed process leaves its group a moment after its pid is gone.
      if (reasonOf(error) !== 'Conflict') throw error;
      await sleep(2, undefined, { signal });
    }
  }
}
