// POST /archives: bytes on their way into the runtime's content store, hashed while they are written. Nothing is held in
// memory, and nothing stays of an upload that does not come to its end.
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import type { UploadedArchive } from '../../../crds/archive.ts';
import { errnoOf, WindlassError } from '../../../lib/errors.ts';
import type { NodeRuntime } from '../runtime/node-runtime.ts';
import { HEAD_BYTES, isArchiveHead } from './tar-head.ts';

/** How much is written between two looks at the disk. */
const LOOK_BYTES = 64 * 1024 * 1024;

export interface ReceiverDeps {
  readonly runtime: Pick<NodeRuntime, 'importBlob'>;
  /** Folder of unfinished uploads, on the file system of the content store. */
  readonly uploads: string;
  /** What the disk lacks now. */
  readonly diskProblem: () => string | undefined;
  readonly nodeName: string;
}

/** Empties the folder of what a killed agent left in it. */
export function prepareUploads(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o700 });
}

function requireArchive(head: Buffer): void {
  if (isArchiveHead(head)) return;
  throw new WindlassError('BadRequest', 'the body is no tar, nor one compressed with gzip or zstd');
}

/** Takes in `body`. Throws BadRequest for what is no archive, Unavailable when the disk is full, and what the connection breaks with. */
export async function receiveArchive(
  { runtime, uploads, diskProblem, nodeName }: ReceiverDeps,
  body: Pick<IncomingMessage, typeof Symbol.asyncIterator>,
  signal: AbortSignal,
): Promise<UploadedArchive> {
  const path = join(uploads, randomUUID());
  const file = await open(path, 'wx', 0o600);
  const hash = createHash('sha256');
  let sizeBytes = 0;
  let lookAt = 0;
  let head: Buffer = Buffer.alloc(0);
  try {
    try {
      for await (const chunk of body as AsyncIterable<Buffer>) {
        if (sizeBytes >= lookAt) {
          const problem = diskProblem();
          if (problem) throw new WindlassError('Unavailable', `node "${nodeName}" takes no archive: ${problem}`);
          lookAt = sizeBytes + LOOK_BYTES;
        }
        if (head.length < HEAD_BYTES) {
          head = Buffer.concat([head, chunk.subarray(0, HEAD_BYTES)]);
          if (head.length >= HEAD_BYTES) requireArchive(head);
        }
        hash.update(chunk);
        await file.appendFile(chunk);
        sizeBytes += chunk.length;
        signal.throwIfAborted();
      }
    } finally {
      await file.close();
    }
    if (sizeBytes === 0) throw new WindlassError('BadRequest', 'the body is empty: send the bytes of a tar');
    requireArchive(head);
    const digest = `sha256:${hash.digest('hex')}`;
    await runtime.importBlob(path, digest);
    return { digest, sizeBytes };
  } catch (error) {
    await rm(path, { force: true });
    if (errnoOf(error) !== 'ENOSPC') throw error;
    throw new WindlassError('Unavailable', `node "${nodeName}" takes no archive: no space left on device`, {
      cause: error,
    });
  }
}
