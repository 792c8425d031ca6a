// Mounts of ready sandboxes that somebody took away: the pins of their namespaces and their /dev/shm. Containers that
// run have mounts of their own and feel nothing, but the next one in the sandbox would. (The root file system of a
// container is mounted again when it is asked for next.)
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAbort } from '../../lib/errors.ts';
import { isRunning } from '../../lib/process-identity.ts';
import type { RunPart } from '../../lib/run-all.ts';
import { isNamespacePin } from '../host/mount.ts';
import { isMountPoint } from '../snapshots/overlay-mounts.ts';
import type { SandboxRecord } from '../store/records.ts';
import { shmSizeOf } from './annotations.ts';
import type { Shim } from './deps.ts';
import { containersOf } from './lookup.ts';
import { releaseSandbox } from './teardown.ts';

const LOOK_MS = 2_000;

/** Looks every few seconds until `signal` fires. */
export function watchMounts(shim: Shim): RunPart {
  return {
    name: 'mounts',
    async run(signal) {
      try {
        for (;;) {
          await sleep(LOOK_MS, undefined, { signal });
          for (const { id } of shim.store.sandboxes.list()) {
            await repair(shim, id);
          }
        }
      } catch (error) {
        if (!isAbort(error)) throw error;
      }
    },
  };
}

async function repair(shim: Shim, sandboxId: string): Promise<void> {
  try {
    const record = shim.store.sandboxes.get(sandboxId);
    if (record && !isIntact(record)) await shim.queue.run(sandboxId, () => repairSandbox(shim, sandboxId));
  } catch (error) {
    shim.log.error({ sandboxId, err: error }, 'failed to repair the mounts of a sandbox');
  }
}

/**
 * Puts back what is missing of a ready sandbox. A namespace that no process is in any more is gone for good: then the
 * sandbox counts as stopped, and whoever owns it makes another.
 */
export async function repairSandbox(shim: Shim, sandboxId: string): Promise<void> {
  const record = shim.store.sandboxes.get(sandboxId);
  if (!record || isIntact(record)) return;
  for (const [kind, path] of missingPins(record)) {
    const init = containersOf(shim, record.id).find((container) => container.init && isRunning(container.init))?.init;
    if (!init) {
      shim.log.warn({ sandboxId, namespace: kind }, 'a namespace of the sandbox is gone: it counts as stopped');
      await releaseSandbox(shim, record);
      shim.store.sandboxes.note({ ...record, phase: 'stopped' });
      return;
    }
    shim.host.pinNamespace(`/proc/${init.pid}/ns/${kind}`, path);
    // It may have ended meanwhile and its pid be a stranger's, whose namespace this would be. The next look tries again.
    if (!isRunning(init)) return shim.host.unpinNamespace(path);
    shim.log.warn({ sandboxId, namespace: kind }, 'pinned a namespace again that someone unmounted');
  }
  if (lacksShm(record)) {
    shim.host.mountTmpfs(shmOf(record), `mode=1777,size=${shmSizeOf(record.config.annotations)}`);
    shim.log.warn({ sandboxId }, 'mounted /dev/shm of a sandbox again that someone unmounted');
  }
}

const isIntact = (record: SandboxRecord): boolean =>
  record.phase !== 'ready' || (missingPins(record).length === 0 && !lacksShm(record));

const isOwn = (record: SandboxRecord, path: string): boolean => path.startsWith(`${record.directory}/`);

/** Of a namespace that is another sandbox's, that one takes care. */
const missingPins = (record: SandboxRecord): [string, string][] =>
  Object.entries(record.namespaces)
    .map(([kind, pin]): [string, string] => [kind, typeof pin === 'string' ? pin : pin.path])
    .filter(([, path]) => isOwn(record, path) && !isNamespacePin(path));

const shmOf = ({ directory }: SandboxRecord): string => join(directory, 'shm');

const lacksShm = (record: SandboxRecord): boolean =>
  isOwn(record, record.namespaces.ipc ?? '') &&
  statSync(shmOf(record), { throwIfNoEntry: false }) !== undefined &&
  !isMountPoint(shmOf(record));
