// Taking sandboxes and containers off the host. Every step succeeds when there is nothing to do, so that a teardown
// that was cut short is simply run again.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isNotFound, reasonOf } from '../../lib/errors.ts';
import type { ContainerRecord, SandboxRecord } from '../store/records.ts';
import type { Shim } from './deps.ts';
import { publishEvent, publishSandboxEvent } from './events.ts';
import { containersOf } from './lookup.ts';
import { releaseRootFilesystem } from './root-filesystem.ts';

const TEARDOWN_MS = 60_000;

/** Kills what runs in the container and removes everything of it, the record last. */
export async function teardownContainer(shim: Shim, containerId: string): Promise<void> {
  const record = shim.store.containers.get(containerId);
  if (!record) return;
  const signal = AbortSignal.timeout(TEARDOWN_MS);
  const wasVisible = record.phase !== 'creating';
  if (record.phase !== 'removing') shim.store.containers.save({ ...record, phase: 'removing' });
  await killContainer(shim, record, signal);
  await shim.runtime.delete(containerId, record.init, signal);
  await removeCgroup(shim, record.cgroupsPath, signal);
  await releaseRootFilesystem(shim, record);
  for (const index of record.config.mounts.keys()) {
    if (record.config.mounts[index]?.image) await shim.images.unmountView(viewHolder(containerId, index));
  }
  rmSync(record.bundle, { recursive: true, force: true });
  shim.exits.forget(containerId);
  if (wasVisible) publishEvent(shim, record, 'CONTAINER_DELETED_EVENT');
  shim.store.containers.remove(containerId);
}

/** Who holds the view of the image that is mounted as the container's mount `index`. */
export const viewHolder = (containerId: string, index: number): string => `${containerId}-mount${index}`;

/** SIGKILL to everything in the container's control group, paused or not; returns when the group is empty. */
export async function killContainer(shim: Shim, record: ContainerRecord, signal: AbortSignal): Promise<void> {
  try {
    if (shim.cgroups.isFrozen(record.cgroupsPath)) shim.cgroups.thaw(record.cgroupsPath);
    while (shim.cgroups.pids(record.cgroupsPath).length > 0) {
      await shim.cgroups.killAll(record.cgroupsPath, signal);
      await sleep(1, undefined, { signal });
    }
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

async function removeCgroup(shim: Shim, path: string, signal: AbortSignal): Promise<void> {
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

/** Frees what the sandbox holds on the host, its address first of all; the files and the record stay. */
export async function releaseSandbox(shim: Shim, record: SandboxRecord): Promise<void> {
  await shim.network.detachSandbox(record.id);
  for (const kind of ['net', 'ipc', 'uts'] as const) {
    const pin = join(record.directory, 'ns', kind);
    if (record.namespaces[kind] === pin) shim.host.unpinNamespace(pin);
  }
  shim.host.unmount(join(record.directory, 'shm'));
}

/** Removes the sandbox with its containers, the record last; unknown = success. */
export async function teardownSandbox(shim: Shim, sandboxId: string): Promise<void> {
  const record = shim.store.sandboxes.get(sandboxId);
  if (!record) return;
  for (const container of containersOf(shim, sandboxId)) {
    await shim.queue.run(container.id, () => teardownContainer(shim, container.id));
  }
  await releaseSandbox(shim, record);
  rmSync(record.directory, { recursive: true, force: true });
  const wasReady = record.phase === 'ready';
  if (wasReady) publishSandboxEvent(shim, { ...record, phase: 'stopped' }, 'CONTAINER_STOPPED_EVENT');
  if (record.phase !== 'creating') {
    publishSandboxEvent(shim, { ...record, phase: 'stopped' }, 'CONTAINER_DELETED_EVENT');
  }
  shim.store.sandboxes.remove(sandboxId);
}
