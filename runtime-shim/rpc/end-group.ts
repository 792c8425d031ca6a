// Control groups at the end of their use.
import { setTimeout as sleep } from 'node:timers/promises';
import { reasonOf } from '../../lib/errors.ts';
import type { Shim } from './deps.ts';

/** Removes the group, ending what is still in it; absent = success. */
export async function removeCgroup(shim: Shim, path: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      shim.cgroups.remove(path);
      return;
    } catch (error) {
      if (reasonOf(error) !== 'Conflict') throw error;
      // Somebody who came late; or a killed process, which leaves its group a moment after its pid is gone.
      await shim.cgroups.killAll(path, signal);
      await sleep(2, undefined, { signal });
    }
  }
}
