// After a restart of the shim: what records say is compared with what is there, and what was half done is finished.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, isUnavailable } from '../../lib/errors.ts';
import { paths } from '../../lib/instance.ts';
import { writeRecordFile } from '../store/record-file.ts';
import type { ContainerRecord, SandboxRecord } from '../store/records.ts';
import { removeHalfMadeCheckpoints } from './checkpoint-container.ts';
import { recordExit, recordLoss } from './container-exit.ts';
import type { Shim } from './deps.ts';
import {
  endForgottenExecs,
  findStrayContainers,
  releaseStrayViews,
  removeStrayContainer,
  removeStraySandboxes,
} from './recover-strays.ts';
import { repairSandbox } from './repair-mounts.ts';
import { removeStrayRootFilesystems } from './root-filesystem.ts';
import { releaseSandbox, teardownContainer, teardownSandbox } from './teardown.ts';

/** Called once, before the socket opens. One thing that cannot be repaired does not keep the rest from it. */
export async function recoverShim(shim: Shim): Promise<void> {
  const isNewBoot = noteBoot(shim, join(paths.shimState(shim.instance), 'boot-id'));
  await attempt(shim, 'checkpoints', async () => removeHalfMadeCheckpoints(shim));
  await attempt(shim, 'programs run in containers', async () => endForgottenExecs(shim));
  for (const record of shim.store.containers.list()) {
    await attempt(shim, `container ${record.id}`, () => recoverContainer(shim, record, isNewBoot));
  }
  for (const id of findStrayContainers(shim)) {
    await attempt(shim, `stray container ${id}`, () => removeStrayContainer(shim, id));
  }
  for (const record of shim.store.sandboxes.list()) {
    await attempt(shim, `sandbox ${record.id}`, () => recoverSandbox(shim, record, isNewBoot));
  }
  await attempt(shim, 'stray sandboxes', () => removeStraySandboxes(shim));
  await attempt(shim, 'sandboxes kept ready', () => shim.pool.recover());
  await attempt(shim, 'writable layers', () => removeStrayRootFilesystems(shim));
  await attempt(shim, 'views of images', () => releaseStrayViews(shim));
}

async function recoverContainer(shim: Shim, found: ContainerRecord, isNewBoot: boolean): Promise<void> {
  const record = isNewBoot ? forgetProcesses(shim, found) : found;
  if (record.phase === 'creating' || record.phase === 'removing') {
    await teardownContainer(shim, record.id);
    return;
  }
  if (record.phase === 'running' && !isNewBoot && shim.runtime.isWaiting(record.id)) {
    // The shim died between the record and the start itself.
    shim.store.containers.note({ ...record, phase: 'created', startedAtMs: 0 });
  }
  if (shim.exits.read(record.id) !== undefined) await recordExit(shim, record.id);
  else if (isNewBoot) await recordLoss(shim, record.id, 'the host was restarted while the container ran');
}

/** Pids and start times begin anew with every boot: those of an earlier one may fit a stranger. */
function forgetProcesses(shim: Shim, { init: _init, conmon: _conmon, ...record }: ContainerRecord): ContainerRecord {
  shim.store.containers.note(record);
  return record;
}

async function recoverSandbox(shim: Shim, record: SandboxRecord, isNewBoot: boolean): Promise<void> {
  if (record.phase === 'creating') {
    await teardownSandbox(shim, record.id);
    return;
  }
  // A removal that was cut short has stopped it, but perhaps no more than that. Of a reboot its owner is told as of any
  // sandbox whose namespaces are gone.
  if (isNewBoot || record.phase === 'stopped') {
    await releaseSandbox(shim, record);
    if (record.phase === 'ready') shim.store.sandboxes.note({ ...record, phase: 'stopped' });
    return;
  }
  await repairSandbox(shim, record.id);
}

/** True when the records were written before the host was started: nothing they describe can be alive. */
function noteBoot(shim: Shim, file: string): boolean {
  const current = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  let known: string | undefined;
  try {
    known = readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
  if (known === current) return false;
  try {
    writeRecordFile(file, current);
  } catch (error) {
    if (!isUnavailable(error)) throw error;
    shim.log.warn({ err: error }, 'failed to note which boot this is');
  }
  return known !== undefined;
}

async function attempt(shim: Shim, what: string, step: () => Promise<void>): Promise<void> {
  try {
    await step();
  } catch (error) {
    shim.log.error({ err: error }, `failed to recover ${what}`);
  }
}
