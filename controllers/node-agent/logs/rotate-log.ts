// Rotation of a live log: rename, let the runtime open a new file, drop the oldest.
import { rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf } from '../../../lib/errors.ts';
import { listAttemptFiles, rotatedName } from './log-files.ts';

export interface RotationLimits {
  readonly maxSizeBytes: number;
  /** Files kept per attempt, the live one included. */
  readonly maxFiles: number;
}

/**
 * Rotates `path` when it has grown past the limit. `reopen` must return once the runtime writes to a new file; when
 * it fails the old name is given back, so that nothing is written to a file no reader looks at.
 */
export async function rotateLog(
  path: string,
  attempt: number,
  limits: RotationLimits,
  reopen: () => Promise<void>,
  nowMs: number,
): Promise<boolean> {
  const size = await sizeOf(path);
  if (size === undefined) {
    // Deleted by hand: the runtime goes on writing into a file that nobody can find.
    await reopen();
    return false;
  }
  if (size < limits.maxSizeBytes) return false;
  const rotated = rotatedName(path, nowMs);
  await rename(path, rotated);
  try {
    await reopen();
  } catch (error) {
    if ((await sizeOf(path)) === undefined) await rename(rotated, path);
    throw error;
  }
  const files = await listAttemptFiles(dirname(path), attempt);
  for (const old of files.slice(0, Math.max(0, files.length - Math.max(limits.maxFiles, 1))))
    await rm(old, { force: true });
  return true;
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
