// After a restart of the shim: what records say is compared with what is there, and what was half done is finished.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../../lib/errors.ts';
import { paths } from '../../lib/instance.ts';
import type { ContainerRecord, SandboxRecord } from '../store/records.ts';
import { removeHalfMadeCheckpoints } from './checkpoint-container.ts';
import { recordExit } from './container-exit.ts';
import type { Shim } from './deps.ts';
import { repairSandbox } from './repair-mounts.ts';
import { removeStrayRootFilesystems } from './root-filesystem.ts';
import { teardownContainer, teardownSandbox } from './teardown.ts';

/** Called once, before the socket opens. One thing that cannot be repaired does not keep the rest from it. */
export async function recoverShim(shim: Shim): Promise<void> {
  const isNewBoot = noteBoot(join(paths.shimState(shim.instance), 'boot-id'));
  await attempt(shim, 'checkpoints', async () => removeHalfMadeCheckpoints(shim));
  for (const record of shim.store.containers.list()) {
    await attempt(shim, `container ${record.id}`, () => recoverContainer(shim, record, isNewBoot));
  }
  for (const record of shim.store.sandboxes.list()) {
    await attempt(shim, `sandbox ${record.id}`, () => recoverSandbox(shim, record, isNewBoot));
  }
  await attempt(shim, 'writable layers', () => removeStrayRootFilesystems(shim));
}

async function recoverContainer(shim: Shim, record: ContainerRecord, isNewBoot: boolean): Promise<void> {
  if (isNewBoot || record.phase === 'creating' || record.phase === 'removing') {
    await teardownContainer(shim, record.id);
    return;
  }
  if (record.phase === 'running' && shim.runtime.isWaiting(record.id)) {
    // The shim died between the record and the start itself.
    shim.store.containers.save({ ...record, phase: 'created', startedAtMs: 0 });
  }
  if (shim.exits.read(record.id) !== undefined) await recordExit(shim, record.id);
}

async function recoverSandbox(shim: Shim, record: SandboxRecord, isNewBoot: boolean): Promise<void> {
  if (isNewBoot || record.phase === 'creating') {
    await teardownSandbox(shim, record.id);
    return;
  }
  await repairSandbox(shim, record.id);
}

/** True when the records were written before the host was started: nothing they describe can be alive. */
function noteBoot(file: string): boolean {
  const current = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  let known: string | undefined;
  try {
    known = readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
  writeFileSync(file, current);
  return known !== undefined && known !== current;
}

async function attempt(shim: Shim, what: string, step: () => Promise<void>): Promise<void> {
  try {
    await step();
  } catch (error) {
    shim.log.error({ err: error }, `failed to recover ${what}`);
  }
}
