// The files of records: whole or absent, whatever happens while one is written.
import { readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf, isUnavailable, messageOf, WindlassError } from '../../lib/errors.ts';

const TEMPORARY = '.tmp';

/**
 * Replaces `file` in one step. Unavailable, naming the folder, when there is no room or the folder is read-only; then the
 * file is as it was. No fsync: the folder does not outlive a reboot, and a killed process loses nothing that was renamed.
 */
export function writeRecordFile(file: string, text: string, mode = 0o600): void {
  const temporary = `${file}${TEMPORARY}`;
  try {
    writeFileSync(temporary, text, { mode });
    renameSync(temporary, file);
  } catch (error) {
    // It may hold the last free block.
    removeQuietly(temporary);
    throw asFolderError(dirname(file), error);
  }
}

/** Removes the temporary files of writes that never became visible. */
export function removeTemporaryFiles(folder: string): void {
  for (const name of readdirSync(folder)) if (name.endsWith(TEMPORARY)) rmSync(join(folder, name), { force: true });
}

/**
 * What is wrong with the disk that a step below `folder` failed for, as Unavailable and in words; any other error as it is.
 * A program's complaint of a full disk counts too.
 */
export function asFolderError(folder: string, error: unknown): unknown {
  if (isUnavailable(error)) return error;
  const problem = PROBLEMS.find(({ code, words }) => errnoOf(error) === code || words.test(messageOf(error)))?.problem;
  if (problem === undefined) return error;
  const { path } = error as NodeJS.ErrnoException;
  return new WindlassError('Unavailable', `failed to write to ${path ?? folder}: ${problem}`, { cause: error });
}

/** The words are a program's, or those of a call of Node's that gives no code (rmSync). */
const PROBLEMS = [
  { code: 'ENOSPC', words: /no space left on device/i, problem: 'no space left on device, or no inode' },
  { code: 'EDQUOT', words: /quota exceeded/i, problem: 'the disk quota is used up' },
  { code: 'EROFS', words: /read-only file system/i, problem: 'the file system is read-only' },
  { code: 'EIO', words: /input\/output error/i, problem: 'input/output error' },
] as const;

/** For the way out of a failure, which is the one to tell of. */
function removeQuietly(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch {
    // The next start removes it.
  }
}
