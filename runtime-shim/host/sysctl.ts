// Kernel settings below /proc/sys, of the net namespace that is current.
import { readFileSync, writeFileSync } from 'node:fs';
import { errnoOf } from '../../lib/errors.ts';

/** Writes the setting unless it has that value; `optional` accepts a kernel without it. */
export function writeSysctl(path: string, value: string, options: { optional?: boolean } = {}): void {
  const file = `/proc/sys/${path}`;
  try {
    if (readFileSync(file, 'utf8').trim() !== value) writeFileSync(file, value);
  } catch (error) {
    if (!(options.optional && errnoOf(error) === 'ENOENT')) throw error;
  }
}

/** The setting's value; undefined on a kernel without it. */
export function readSysctl(path: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${path}`, 'utf8').trim();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
