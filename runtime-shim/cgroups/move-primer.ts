// A runtime that moves a process into its control group takes a lock of the kernel's that is cheap for everybody else: for
// the mover it costs a grace period, 10 to 15 ms, when nobody took it just before (cgroup_attach_lock() and rcu_sync_enter()
// in the kernel). So it is taken here, on a thread of the pool, while the runtime is still being started: a process that
// is moved to the group it is in takes the lock and stays where it is. The runtime then comes through at once.
import { closeSync, openSync, readFileSync, write } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { errnoOf } from '../../lib/errors.ts';
import { readKernelText } from '../../lib/kernel-file.ts';
import { parseCgroupMounts, type CgroupMounts } from './cgroups.ts';

/** Shorter than a grace period: the next time comes before the lock is at rest again. */
const AGAIN_MS = 8;
/** From the beginning of a call until its runtime has moved its process, on a machine that is not too busy. */
const HOLD_MS = 60;

export interface MovePrimer {
  /** Sees to it that a move of a process into another group need not wait, from a grace period on and for a short while. */
  prime(): void;
}

/** For a runtime that moves nothing. */
export const noMoves: MovePrimer = { prime: () => undefined };

export interface MovePrimerOptions {
  /** `cgroup.procs` of the group that this process is in; undefined when it is not to be seen. */
  readonly findFile?: () => string | undefined;
  /** Moves this process into the group of `file`, without keeping the event loop. */
  readonly move?: (file: string) => Promise<void>;
}

/** Once it failed it does nothing more: all that is lost is time. */
export function createMovePrimer({ findFile = findOwnGroup(), move = moveSelf }: MovePrimerOptions = {}): MovePrimer {
  let until = 0;
  let isRunning = false;
  let isHopeless = false;
  const run = async (): Promise<void> => {
    try {
      while (performance.now() < until) {
        // Looked up each time: whoever put this process elsewhere meanwhile must not find it back.
        const file = findFile();
        if (file === undefined) break;
        await move(file);
        await sleep(AGAIN_MS, undefined, { ref: false });
      }
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      isHopeless = true;
    } finally {
      isRunning = false;
    }
  };
  return {
    prime() {
      until = performance.now() + HOLD_MS;
      if (isRunning || isHopeless) return;
      isRunning = true;
      void run();
    },
  };
}

const writeTo = promisify(write);

/** Moves this process, with all its threads, into the group of `file`; on a thread of the pool, since it can wait. */
export async function moveSelf(file: string): Promise<void> {
  const fd = openSync(file, 'r+');
  try {
    // 0 is whoever writes.
    await writeTo(fd, '0');
  } finally {
    closeSync(fd);
  }
}

/** What looks up the `cgroup.procs` of the group that this process is in. */
export function findOwnGroup(): () => string | undefined {
  const mounts = wholeMounts(readKernelText('/proc/self/mountinfo'));
  return () => procsFile(readFileSync('/proc/self/cgroup', 'utf8'), mounts);
}

/** The hierarchies of which the whole is mounted: in a part of one, the path of a group can be another's. */
export function wholeMounts(mountinfo: string): CgroupMounts {
  const whole = mountinfo.split('\n').filter((line) => line.split(' ')[3] === '/');
  return parseCgroupMounts(whole.join('\n'));
}

/** `cgroup.procs` of a process's group by the text of its /proc/<pid>/cgroup, in the first hierarchy that is mounted. */
export function procsFile(cgroup: string, { v1, v2 }: CgroupMounts): string | undefined {
  for (const line of cgroup.trim().split('\n')) {
    const [, controllers = '', ...path] = line.split(':');
    const mount = controllers === '' ? v2 : v1.get(controllers.split(',')[0] ?? '');
    if (mount !== undefined) return join(mount, path.join(':'), 'cgroup.procs');
  }
  return undefined;
}
