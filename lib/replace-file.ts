// Writing a file so that a reader, or a crash, sees the old text or the new one, never half of it.
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Puts `text` in place of what `file` holds, for its owner alone; `flush` = it is on the disk when this returns, and under
 * its name, so that a power loss does not take it.
 */
export function replaceFile(file: string, text: string, { flush = false } = {}): void {
  try {
    writeFileSync(`${file}.tmp`, text, { mode: 0o600, flush });
    renameSync(`${file}.tmp`, file);
  } catch (error) {
    // It may hold the last free block.
    rmSync(`${file}.tmp`, { force: true });
    throw error;
  }
  if (flush) flushFolder(dirname(file));
}

/** Brings the names in a folder to the disk: what was created or renamed in it is there after a power loss. */
export function flushFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
