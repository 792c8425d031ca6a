// Deleting what a container wrote. It may be a million files, or folders nested beyond the longest path: rm() of
// node:fs/promises would hold all names in memory, stop the event loop for seconds, and fail on the latter.
import { lstatSync, opendirSync, rmSync } from 'node:fs';
import { opendir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { errnoOf } from '../../lib/errors.ts';
import { createLimit } from '../../lib/limit.ts';

/** What most containers leave is deleted faster than a thread starts. */
const SMALL_ENTRIES = 1000;
const SMALL_DEPTH = 100;
const oneAtATime = createLimit(1);
const never = new AbortController().signal;

/** What a container leaves that wrote next to nothing: deleted at once, in less than a turn of a thread takes. */
const TINY = { entries: 24, depth: 5, fileBytes: 256 * 1024 } as const;

/** Deletes `path` with everything below it; absent = success. Large trees on a thread of their own, in turn. */
export async function removeTree(path: string): Promise<void> {
  if (isTinyTree(path)) return rmSync(path, { recursive: true, force: true });
  if (await isSmallTree(path)) return rm(path, { recursive: true, force: true });
  await oneAtATime(0, never, () => removeInWorker(path));
}

function isTinyTree(path: string): boolean {
  let entries = 0;
  const isTiny = (folder: string, depth: number): boolean => {
    using handle = opendirSync(folder);
    for (let entry = handle.readSync(); entry; entry = handle.readSync()) {
      entries += 1;
      if (entries > TINY.entries || depth > TINY.depth) return false;
      const inside = join(folder, entry.name);
      if (entry.isDirectory() ? !isTiny(inside, depth + 1) : lstatSync(inside).size > TINY.fileBytes) return false;
    }
    return true;
  };
  try {
    return isTiny(path, 1);
  } catch (error) {
    // Absent, no folder, or a name that is no text: for the other ways.
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}

/** Whether `path` has few entries and is not nested deeply. */
export async function isSmallTree(path: string): Promise<boolean> {
  const todo: [folder: string, depth: number][] = [[path, 0]];
  let entries = 0;
  for (let next = todo.pop(); next; next = todo.pop()) {
    const [folder, depth] = next;
    if (depth > SMALL_DEPTH) return false;
    try {
      for await (const entry of await opendir(folder)) {
        entries += 1;
        if (entries > SMALL_ENTRIES) return false;
        if (entry.isDirectory()) todo.push([join(folder, entry.name), depth + 1]);
      }
    } catch (error) {
      // A name that is no text leads nowhere: for the thread, which takes bytes.
      if (['ENAMETOOLONG', 'ENOENT'].includes(errnoOf(error) ?? '') && depth > 0) return false;
      if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') throw error;
    }
  }
  return true;
}

function removeInWorker(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./remove-worker.ts', import.meta.url), { workerData: path });
    // The shim may end meanwhile: what is left is deleted at the next start.
    worker.unref();
    worker.once('error', reject);
    worker.once('exit', () => resolve());
  });
}
