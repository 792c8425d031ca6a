// What /proc says of a container's processes. They come and go while they are looked at: one that is gone counts as
// nothing.
import { readdir, readFile, readlink } from 'node:fs/promises';
import { errnoOf } from '../../lib/errors.ts';

/** Open descriptors of the processes, and how many of them are sockets. */
export async function countDescriptors(
  pids: readonly number[],
  signal: AbortSignal,
): Promise<{ descriptors: number; sockets: number }> {
  let [descriptors, sockets] = [0, 0];
  for (const pid of pids) {
    signal.throwIfAborted();
    const names = (await unlessGone(readdir(`/proc/${pid}/fd`))) ?? [];
    descriptors += names.length;
    for (const name of names) {
      const target = await unlessGone(readlink(`/proc/${pid}/fd/${name}`));
      if (target?.startsWith('socket:')) sockets += 1;
    }
  }
  return { descriptors, sockets };
}

/** Soft limit of open files; undefined when unlimited, or the process is gone. */
export async function readOpenFilesLimit(pid: number): Promise<number | undefined> {
  const text = await unlessGone(readFile(`/proc/${pid}/limits`, 'utf8'));
  const soft = Number(/^Max open files\s+(\S+)/m.exec(text ?? '')?.[1]);
  return Number.isFinite(soft) ? soft : undefined;
}

async function unlessGone<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return undefined;
    throw error;
  }
}
