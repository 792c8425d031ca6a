// What a run that crashed left, found by the names of its folders: `<prefix><pid>-<anything>` in the temporary folder.
import { closeSync, openSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errnoOf } from '../../lib/errors.ts';
import { readStartTime } from '../../lib/process-identity.ts';
import { tryLock } from '../../runtime-shim/host/file-lock.ts';

/**
 * Calls `remove` with each folder whose process is gone, one after another. A folder that another test file is removing
 * at the moment is left to it.
 */
export async function forLeftOvers(prefix: string, remove: (root: string) => void | Promise<void>): Promise<void> {
  for (const name of readdirSync(tmpdir())) {
    const pid = Number(name.startsWith(prefix) ? name.slice(prefix.length).split('-')[0] : NaN);
    if (!Number.isInteger(pid) || readStartTime(pid) !== undefined) continue;
    const root = join(tmpdir(), name);
    const fd = openFolder(root);
    if (fd === undefined) continue;
    try {
      if (tryLock(fd)) await remove(root);
    } finally {
      closeSync(fd);
    }
  }
}

/** Undefined when it is gone. */
function openFolder(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
