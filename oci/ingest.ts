// Blobs on their way into the content store: written to a file of their own, hashed on the way, renamed at the end.
import { createHash, randomUUID } from 'node:crypto';
import { open, rename, rm, statfs, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, WindlassError } from '../lib/errors.ts';
import { digestMismatch, finishDigest, hasherFor, splitDigest, type Digest } from './digest.ts';

/** Never filled, so that the rest of the machine keeps working. */
export const MIN_FREE_BYTES = 128 * 1024 * 1024;

/** Network pieces are gathered to this size before they go to the disk: each write is a trip to another thread. */
export const WRITE_BYTES = 1024 * 1024;

export const NO_SPACE = 'no space left on device';

/** A blob being written; its owner is the only writer of the digest. */
export interface Ingest {
  /** Bytes taken so far, those of an earlier try included. */
  readonly offset: number;
  /** Takes a chunk, which must not change afterwards; it is on disk at the latest when close() or commit() resolves. */
  write(chunk: Buffer): Promise<void>;
  /** Starts again from nothing. */
  reset(): Promise<void>;
  /** Verifies size and digest and makes the blob visible; on a mismatch the bytes are deleted and Invalid is thrown. */
  commit(): Promise<void>;
  /** Gives up for now; the bytes stay for a resume. No effect after commit(). */
  close(): Promise<void>;
}

/** A finished file that is not yet in the store. */
export interface StagedBlob {
  readonly path: string;
  readonly digest: Digest;
  readonly sizeBytes: number;
  keep(): Promise<void>;
  /** No effect after keep(). */
  discard(): Promise<void>;
}

/** The name of the file that a blob is written to. */
export function partialName(digest: Digest): string {
  const { algorithm, hex } = splitDigest(digest);
  return `${algorithm}-${hex}`;
}

/** Opens the partial file of `digest` in `folder`, which commit() renames to `target`. */
export async function openIngest(folder: string, target: string, digest: Digest, sizeBytes: number): Promise<Ingest> {
  const path = join(folder, partialName(digest));
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize < sizeBytes + MIN_FREE_BYTES) {
    throw new WindlassError(
      'Unavailable',
      `no space left on device in ${folder} for blob ${digest} of ${sizeBytes} bytes`,
    );
  }
  const file = await openFile(path, 'a+', `failed to write blob ${digest} to ${folder}`);
  let hash = hasherFor(digest);
  let offset = 0;
  let isOpen = true;
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  const flush = async (): Promise<void> => {
    const chunks = pending;
    pending = [];
    pendingBytes = 0;
    try {
      if (chunks.length > 0) await writeAll(file, chunks);
    } catch (error) {
      throw asStoreError(`failed to write blob ${digest} to ${folder}`, error);
    }
  };
  // What an earlier try left is hashed again, since a hash in progress cannot be stored.
  for await (const chunk of file.createReadStream({ start: 0, autoClose: false, highWaterMark: 1024 * 1024 })) {
    hash.update(chunk as Buffer);
    offset += (chunk as Buffer).length;
  }
  const reset = async (): Promise<void> => {
    pending = [];
    pendingBytes = 0;
    await file.truncate(0);
    hash = hasherFor(digest);
    offset = 0;
  };
  if (offset > sizeBytes) await reset();
  return {
    get offset() {
      return offset;
    },
    reset,
    async write(chunk) {
      if (offset + chunk.length > sizeBytes) {
        await reset();
        throw new WindlassError('Invalid', `blob ${digest} has more than the ${sizeBytes} bytes its manifest says`);
      }
      hash.update(chunk);
      offset += chunk.length;
      pending.push(chunk);
      pendingBytes += chunk.length;
      if (pendingBytes >= WRITE_BYTES) await flush();
    },
    async commit() {
      await flush();
      const { size } = await file.stat();
      isOpen = false;
      await file.close();
      // Somebody else has written to the file: what was hashed is not what is there.
      if (size !== offset) {
        await rm(path, { force: true });
        throw new WindlassError(
          'Unavailable',
          `blob ${digest} has ${size} bytes in ${folder}, not the ${offset} written`,
        );
      }
      const found = finishDigest(hash, digest);
      if (offset !== sizeBytes || found !== digest) {
        await rm(path, { force: true });
        if (offset !== sizeBytes) {
          throw new WindlassError('Invalid', `blob ${digest} has ${offset} bytes, its manifest says ${sizeBytes}`);
        }
        throw digestMismatch(`blob ${digest}`, digest, found);
      }
      await rename(path, target);
    },
    async close() {
      if (!isOpen) return;
      isOpen = false;
      try {
        await flush();
      } finally {
        await file.close();
      }
    },
  };
}

/** Writes to the end of a file that was opened for appending: what a short write leaves is simply written next. */
export async function writeAll(file: FileHandle, chunks: Buffer[]): Promise<void> {
  const { bytesWritten } = await file.writev(chunks);
  let skip = bytesWritten;
  for (const chunk of chunks) {
    if (skip < chunk.length) await file.writeFile(chunk.subarray(skip));
    skip = Math.max(skip - chunk.length, 0);
  }
}

/** Writes `source` to a temporary file in `folder`, hashing it on the way. */
export async function stage(
  folder: string,
  blobPath: (digest: Digest) => string,
  source: AsyncIterable<Buffer>,
): Promise<StagedBlob> {
  const path = join(folder, `tmp-${randomUUID()}`);
  const file = await openFile(path, 'wx', `failed to write a blob to ${folder}`);
  const hash = createHash('sha256');
  let sizeBytes = 0;
  try {
    for await (const chunk of source) {
      hash.update(chunk);
      sizeBytes += chunk.length;
      await file.writeFile(chunk);
    }
    await file.close();
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(path, { force: true });
    throw asStoreError(`failed to write a blob to ${folder}`, error);
  }
  const digest = `sha256:${hash.digest('hex')}` as Digest;
  return {
    path,
    digest,
    sizeBytes,
    keep: () => rename(path, blobPath(digest)),
    discard: () => rm(path, { force: true }),
  };
}

async function openFile(path: string, flags: 'a+' | 'wx', what: string): Promise<FileHandle> {
  try {
    return await open(path, flags, 0o600);
  } catch (error) {
    throw asStoreError(what, error);
  }
}

/** A full disk is named as such; everything else keeps its own words. */
export function asStoreError(what: string, error: unknown): unknown {
  // A worker's words, which do not say where.
  if (error instanceof WindlassError && error.message === NO_SPACE)
    return new WindlassError('Unavailable', `${what}: ${NO_SPACE}`, { cause: error });
  const code = errnoOf(error) ?? '';
  if (!['ENOSPC', 'EDQUOT', 'EIO', 'EROFS'].includes(code)) return error;
  const problem = code === 'EIO' || code === 'EROFS' ? code : NO_SPACE;
  return new WindlassError('Unavailable', `${what}: ${problem}`, { cause: error });
}
