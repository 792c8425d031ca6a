// Writing a file so that a reader, or a crash, sees the old text or the new one, never half of it.
import { renameSync, writeFileSync } from 'node:fs';

/** Puts `text` in place of what `file` holds, for its owner alone; `flush` = it is on the disk when this returns. */
export function replaceFile(file: string, text: string, { flush = false } = {}): void {
  writeFileSync(`${file}.tmp`, text, { mode: 0o600, flush });
  renameSync(`${file}.tmp`, file);
}
