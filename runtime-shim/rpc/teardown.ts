// Taking sandboxes and containers off the host. Every step succeeds when there is nothing to do, so that a teardown
// that was cut short is simply run again.
import { rmdirSync, rmSync } from 'node:fs';
import { errnoOf } from '../../lib/errors.ts';
import { join } from 'node:path';
import type { ProcessIdentity } from '../../lib/process-identity.ts';
import { signalExactProcess } from '../host/processes.ts';
import { endProcesses, findByArgument } from '../oci-runtime/monitors.ts';
import type { ContainerRecord, SandboxRecord } from '../store/records.ts';
import type { Shim } from './deps.ts';
import { removeCgroup } from './end-group.ts';
import { publishEvent, publishSandboxEvent } from './events.ts';
import { containersOf } from './lookup.ts';
import { removePidHolder } from './pid-holder.ts';
import { releaseRootFilesystem } from './root-filesystem.ts';
import { removeMapped } from './user-namespace.ts';

const TEARDOWN_MS = 60_000;
/** How long conmon may take to write down that its container ended. */
const MONITOR_GRACE_MS = 5_000;

/** Kills what runs in the container and removes everything of it, the record last. */
export async function teardownContainer(shim: Shim, containerId: string): Promise<void> {
  await shim.turns.next();
  const record = shim.store.containers.get(containerId);
  if (!record) return;
  const signal = AbortSignal.timeout(TEARDOWN_MS);
  const wasVisible = record.phase !== 'creating';
  if (record.phase !== 'removing') shim.store.containers.note({ ...record, phase: 'removing' });
  // Half made: whoever is at it must stop before there is something to clear away.
  if (!record.conmon) await endProcesses(findMakers(record.bundle), 0, signal);
  // When its end was recorded, nobody was left in its group.
  if (record.phase !== 'exited') await killContainer(shim, record, signal);
  // Its last act is to write the exit file, which nobody would ever remove.
  if (record.conmon) await endProcesses([record.conmon], MONITOR_GRACE_MS, signal);
  await shim.turns.next();
  await shim.runtime.delete(containerId, record.init, signal);
  await removeCgroup(shim, record.cgroupsPath, signal);
  removeMapped(shim, record);
  await releaseRootFilesystem(shim, record);
  for (const index of record.config.mounts.keys()) {
    if (record.config.mounts[index]?.image) await shim.images.unmountView(viewHolder(containerId, index));
  }
  await shim.turns.next();
  rmSync(record.bundle, { recursive: true, force: true });
  shim.exits.forget(containerId);
  if (wasVisible) publishEvent(shim, record, 'CONTAINER_DELETED_EVENT');
  shim.store.containers.remove(containerId);
}

/** Who holds the view of the image that is mounted as the container's mount `index`. */
export const viewHolder = (containerId: string, index: number): string => `${containerId}-mount${index}`;

/** conmon and, below it, the OCI runtime: what is at work on a bundle. */
const findMakers = (bundle: string): ProcessIdentity[] => findByArgument((argument) => argument === bundle);

/**
 * SIGKILL to everything in the container's control group, paused or not, and to its first process wherever that is;
 * returns when the group is empty. A monitor that was halted goes on, or nobody would write down how the container ended.
 */
export async function killContainer(shim: Shim, record: ContainerRecord, signal: AbortSignal): Promise<void> {
  await shim.cgroups.killAll(record.cgroupsPath, signal);
  signalEnds(record);
}

/** The same without waiting for the group to be empty. */
export function signalContainer(shim: Shim, record: ContainerRecord): void {
  shim.cgroups.signalAll(record.cgroupsPath);
  signalEnds(record);
}

function signalEnds(record: ContainerRecord): void {
  if (record.init) signalExactProcess(record.init, 'SIGKILL');
  if (record.conmon) signalExactProcess(record.conmon, 'SIGCONT');
}

/** Frees what the sandbox holds on the host, its address first of all; the files and the record stay. */
export async function releaseSandbox(shim: Shim, record: SandboxRecord): Promise<void> {
  await shim.turns.next();
  await shim.network.detachSandbox(record.id);
  await removePidHolder(shim, record.id);
  const { user, net, ipc, uts } = record.namespaces;
  const pins = [net, ipc, uts, user?.path].flatMap((pin) => (pin?.startsWith(`${record.directory}/`) ? [pin] : []));
  const shm = join(record.directory, 'shm');
  await shim.host.unmountTogether([...pins, shm]);
  for (const pin of pins) rmSync(pin, { force: true });
  // Gone like the pins, so that a second call finds nothing to unmount.
  removeEmptyFolder(shm);
}

/** One in which something is still mounted, or was left, stays for the removal of the whole folder. */
function removeEmptyFolder(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
}

/** Removes the sandbox with its containers, the record last; unknown = success. */
export async function teardownSandbox(shim: Shim, sandboxId: string): Promise<void> {
  const record = shim.store.sandboxes.get(sandboxId);
  if (!record) return;
  // From here on no container is created in it; one that is being created right now sees this in the end, or is seen.
  if (record.phase === 'ready') shim.store.sandboxes.note({ ...record, phase: 'stopped' });
  for (let [container] = containersOf(shim, sandboxId); container; [container] = containersOf(shim, sandboxId)) {
    const { id } = container;
    await shim.queue.run(id, () => teardownContainer(shim, id));
  }
  // Also of one that is stopped: a removal that failed half-way had only called it so.
  await releaseSandbox(shim, record);
  rmSync(record.directory, { recursive: true, force: true });
  const wasReady = record.phase === 'ready';
  if (wasReady) publishSandboxEvent(shim, { ...record, phase: 'stopped' }, 'CONTAINER_STOPPED_EVENT');
  if (record.phase !== 'creating') {
    publishSandboxEvent(shim, { ...record, phase: 'stopped' }, 'CONTAINER_DELETED_EVENT');
  }
  shim.store.sandboxes.remove(sandboxId);
}
