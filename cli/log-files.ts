// One log file per component; a file that has grown too large is copied aside and emptied in place, because its
// writer keeps it open for appending.
import { copyFileSync, mkdirSync, openSync, readSync, closeSync, fstatSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../lib/errors.ts';
import { paths, type Instance } from '../lib/instance.ts';

const MAX_BYTES = 20 * 2 ** 20;

export const logFile = (instance: Instance, component: string): string =>
  join(paths.logs(instance), `${component}.log`);

/** Opens the component's log for appending; the caller closes the descriptor. */
export function openLog(instance: Instance, component: string): number {
  mkdirSync(paths.logs(instance), { recursive: true, mode: 0o700 });
  rotateLog(logFile(instance, component));
  return openSync(logFile(instance, component), 'a', 0o600);
}

/** Copies a log above 20 MiB to `<file>.1` and empties it. */
export function rotateLog(file: string): void {
  try {
    if (statSync(file).size < MAX_BYTES) return;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  copyFileSync(file, `${file}.1`);
  truncateSync(file);
}

/** The last lines of a component's log that say what went wrong, for a message on the terminal. */
export function readLogTail(instance: Instance, component: string, maxLines = 5): string[] {
  let fd: number;
  try {
    fd = openSync(logFile(instance, component), 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
  try {
    const { size } = fstatSync(fd);
    const buffer = Buffer.alloc(Math.min(size, 16_384));
    readSync(fd, buffer, 0, buffer.length, size - buffer.length);
    return buffer.toString('utf8').trimEnd().split('\n').slice(-maxLines);
  } finally {
    closeSync(fd);
  }
}
