// Files that the kernel writes while they are read.
import { readFileSync } from 'node:fs';

/**
 * The text of a file of /proc or /sys that may be long, as the list of mounts is with many containers. `readFileSync(path,
 * 'utf8')` is not for these: Node 24.21 collects short reads, which such files give, and copies them into 64 KiB without
 * looking at their length once 8 KiB come in one piece, which is a crash of the process later. Bytes it reads by another way.
 */
export function readKernelText(path: string): string {
  return readFileSync(path).toString('utf8');
}
