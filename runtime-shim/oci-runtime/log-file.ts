// The log file of a container: below the sandbox's log folder, and never through a link.
import { closeSync, constants, lstatSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { asFolderError } from '../store/record-file.ts';

/** Makes the folders and the empty file of `logPath` below `logDirectory`; returns the file's path. Invalid when it leaves the folder. */
export function prepareLogFile(logDirectory: string, logPath: string): string {
  const parts = logPath.split('/');
  if (
    logPath.startsWith('/') ||
    parts.some((part) => part === '..' || part === '.' || part === '') ||
    /[\0\n:]/.test(logPath)
  ) {
    throw new WindlassError(
      'Invalid',
      `log_path: ${JSON.stringify(logPath)} is not a plain path below the log directory`,
    );
  }
  try {
    mkdirSync(logDirectory, { recursive: true, mode: 0o755 });
  } catch (error) {
    throw asFolderError(logDirectory, error);
  }
  let folder = logDirectory;
  for (const part of parts.slice(0, -1)) {
    folder = join(folder, part);
    mkdirIfAbsent(folder);
    if (!lstatSync(folder).isDirectory()) throw new WindlassError('Invalid', `log_path: ${folder} is not a directory`);
  }
  const file = join(logDirectory, logPath);
  if (dirname(file) !== folder)
    throw new WindlassError('Invalid', `log_path: ${JSON.stringify(logPath)} is not a plain path`);
  try {
    closeSync(
      openSync(file, constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW, 0o640),
    );
  } catch (error) {
    if (errnoOf(error) === 'ELOOP') throw new WindlassError('Invalid', `log_path: ${file} is a link`, { cause: error });
    throw asFolderError(folder, error);
  }
  return file;
}

function mkdirIfAbsent(folder: string): void {
  try {
    mkdirSync(folder, { mode: 0o755 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
}
