import { lstat, opendir } from 'node:fs/promises';
import { errnoOf } from '../../lib/errors.ts';
import { bytePath, nativePath } from '../../oci/layers/file-system-calls.ts';

/** Bytes on disk and inodes of everything below `folder`; what vanishes meanwhile is not counted. */
export async function diskUsage(folder: string): Promise<{ usedBytes: number; inodes: number }> {
  const total = { usedBytes: 0, inodes: 0 };
  const seen = new Set<string>();
  // Byte strings: a container gives names that are no text.
  const todo = [bytePath(folder)];
  while (todo.length > 0) {
    const directory = todo.pop() as string;
    try {
      for await (const entry of await opendir(nativePath(directory) as string, { encoding: 'latin1' })) {
        const path = `${directory}/${entry.name}`;
        const { blocks, nlink, dev, ino } = await lstat(nativePath(path));
        if (entry.isDirectory()) todo.push(path);
        else if (nlink > 1) {
          const key = `${dev}:${ino}`;
          if (seen.has(key)) continue;
          seen.add(key);
        }
        total.usedBytes += blocks * 512;
        total.inodes += 1;
      }
    } catch (error) {
      if (!['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) throw error;
    }
  }
  return total;
}
