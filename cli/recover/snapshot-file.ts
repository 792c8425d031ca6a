// Snapshots as files: which there are, and whether one is whole.
import { createHash } from 'node:crypto';
import { createReadStream, readdirSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, messageOf, WindlassError } from '../../lib/errors.ts';

const HASH_BYTES = 32;
/** bbolt writes whole pages, of which this is the smallest; the hash comes on top. */
const PAGE_BYTES = 512;

/** The newest snapshot of a folder. Throws NotFound when there is none. */
export function newestSnapshot(folder: string): string {
  const names = readFolder(folder).filter((name) => /^etcd-\d{8}T\d{6}Z\.db$/.test(name));
  const newest = names.toSorted().at(-1);
  if (newest === undefined) {
    throw new WindlassError('NotFound', `there is no snapshot in ${folder}: name one with --from`);
  }
  return join(folder, newest);
}

function readFolder(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Throws BadRequest when the file is not the whole of what etcd sent: it ends with the SHA-256 of all before it. */
export async function checkSnapshot(file: string): Promise<void> {
  const bad = (why: string, cause?: unknown): WindlassError =>
    new WindlassError('BadRequest', `--from ${file} ${why}`, { cause });
  let size: number;
  try {
    size = statSync(file).size;
  } catch (error) {
    throw bad(`cannot be read: ${messageOf(error)}`, error);
  }
  if (size <= HASH_BYTES || size % PAGE_BYTES !== HASH_BYTES)
    throw bad('is no snapshot of etcd, or not the whole of one');
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { end: size - HASH_BYTES - 1 })) hash.update(chunk as Buffer);
  const handle = await open(file);
  try {
    const { buffer } = await handle.read(Buffer.alloc(HASH_BYTES), 0, HASH_BYTES, size - HASH_BYTES);
    if (!buffer.equals(hash.digest())) throw bad('is damaged: its hash is not the one at its end');
  } finally {
    await handle.close();
  }
}
