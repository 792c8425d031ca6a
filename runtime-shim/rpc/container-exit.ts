// From an exit file (or its absence) to a record that says how the container ended.
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isRunning } from '../../lib/process-identity.ts';
import { bundleFiles } from '../oci-runtime/conmon.ts';
import { isLive, type ContainerRecord } from '../store/records.ts';
import type { Shim } from './deps.ts';
import { publishEvent } from './events.ts';
import { dropEvictedLayer } from './root-filesystem.ts';
import { killContainer } from './teardown.ts';

const CLEANUP_MS = 30_000;
/** What CRI-O and Podman report when nobody is left who knows the exit code. */
const LOST_EXIT_CODE = 255;
/** 128 + SIGKILL. */
const KILLED_EXIT_CODE = 137;

/** Records the end of a container whose exit file is there; called again = nothing. */
export async function recordExit(shim: Shim, containerId: string): Promise<void> {
  if (!isLive(shim.store.containers.get(containerId))) return;
  await shim.queue.run(containerId, async () => {
    const record = shim.store.containers.get(containerId);
    if (!isLive(record)) return;
    const exitCode = shim.exits.read(containerId);
    if (exitCode !== undefined) await finish(shim, record, exitCode, '');
  });
}

/**
 * Looks for containers whose monitor was killed: their output and exit code are lost, so what still runs is ended and
 * whoever owns the container can start it anew.
 */
export function findOrphans(shim: Shim): void {
  for (const record of shim.store.containers.list()) {
    if (!isLive(record)) continue;
    if (record.conmon && isRunning(record.conmon)) continue;
    if (shim.exits.read(record.id) !== undefined) continue;
    // The exit file can have come between the two looks: the task looks again.
    recordLoss(shim, record.id, 'the monitor process (conmon) of the container was lost').catch((error: unknown) =>
      shim.log.error({ container: record.id, err: error }, 'failed to end an orphaned container'),
    );
  }
}

/** Ends a container of which nobody can say any more how it ended; one that has ended otherwise is left alone. */
export async function recordLoss(shim: Shim, containerId: string, message: string): Promise<void> {
  await shim.queue.run(containerId, async () => {
    const record = shim.store.containers.get(containerId);
    if (!isLive(record) || (record.conmon && isRunning(record.conmon))) return;
    // Looked at last: conmon ends after it has written the file.
    if (shim.exits.read(containerId) !== undefined) return;
    // A full disk takes no exit file; how an evicted container ended is known without one.
    await finish(shim, record, record.eviction === undefined ? LOST_EXIT_CODE : KILLED_EXIT_CODE, message);
  });
}

async function finish(shim: Shim, record: ContainerRecord, exitCode: number, message: string): Promise<void> {
  await shim.turns.next();
  const isOom = existsSync(bundleFiles.oom(record.bundle)) || shim.cgroups.oomKills(record.cgroupsPath) > 0;
  // With a pid namespace shared with others, children outlive their first process.
  await killContainer(shim, record, AbortSignal.timeout(CLEANUP_MS));
  const ended: ContainerRecord = {
    ...record,
    phase: 'exited',
    exitCode,
    // The clock of files is a few milliseconds behind: a short run would end before it began.
    finishedAtMs: Math.max(finishedAt(shim, record.id), record.startedAtMs),
    ...endOf(record, exitCode, isOom, message),
  };
  shim.store.containers.note(ended);
  if (ended.reason === 'Evicted') await dropEvictedLayer(shim, ended);
  publishEvent(shim, ended, 'CONTAINER_STOPPED_EVENT');
  shim.log.info({ container: record.id, exitCode, reason: ended.reason }, 'container ended');
}

/** Why it ended, also when more than one thing would have ended it. */
function endOf({ eviction }: ContainerRecord, exitCode: number, isOom: boolean, message: string) {
  if (exitCode === 0) return { reason: 'Completed', message };
  if (eviction !== undefined) return { reason: 'Evicted', message: eviction };
  return { reason: isOom ? 'OOMKilled' : 'Error', message };
}

/** When the exit file was written: right also for an end that happened while the shim was away. */
function finishedAt(shim: Shim, containerId: string): number {
  return statSync(join(shim.exits.folder, containerId), { throwIfNoEntry: false })?.mtimeMs ?? shim.clock.now();
}
