// The file a layer's tar is written to: hashed in large pieces on the way, each written while the next is filled.
import { readSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { digestOf, finishDigest, hasherFor, type Digest } from '../digest.ts';
import { BLOCK } from './tar-header.ts';
import { paddingFor } from './tar-writer.ts';

/** Each piece is a trip to another thread and back, which on a busy machine takes longer than the writing. */
const PIECE = 4 * 1024 * 1024;
const ANY_SHA256 = digestOf('');

export interface LayerFile {
  /** Appends bytes; a promise when the caller has to wait for the disk. */
  put(bytes: Buffer): Promise<void> | undefined;
  /** Appends `size` bytes of an open file, and zeros up to the next block. Throws when it has fewer. */
  putContent(fd: number, size: number): Promise<void> | undefined;
  /** Resolves when everything is written. */
  finish(): Promise<{ diffId: Digest; sizeBytes: number }>;
  /** Resolves when nothing is being written any more, whatever became of it. */
  settle(): Promise<void>;
}

/** Appends to `file` from its start. */
export function createLayerFile(file: FileHandle): LayerFile {
  const hash = hasherFor(ANY_SHA256);
  let piece: Buffer = Buffer.allocUnsafe(PIECE);
  let spare: Buffer = Buffer.allocUnsafe(PIECE);
  let fill = 0;
  let sizeBytes = 0;
  let writing: Promise<void> = Promise.resolve();

  async function writeOut(bytes: Buffer, position: number): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
      done += bytesWritten;
    }
  }

  async function turnOver(): Promise<void> {
    const full = piece.subarray(0, fill);
    hash.update(full);
    await writing;
    const position = sizeBytes;
    sizeBytes += full.length;
    writing = writeOut(full, position);
    // Thrown where it is awaited: by the next turn or by finish().
    writing.catch(() => undefined);
    [piece, spare] = [spare, piece];
    fill = 0;
  }

  async function putSlowly(bytes: Buffer): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const take = bytes.copy(piece, fill, done);
      fill += take;
      done += take;
      if (fill === PIECE) await turnOver();
    }
  }

  function put(bytes: Buffer): Promise<void> | undefined {
    if (fill + bytes.length >= PIECE) return putSlowly(bytes);
    bytes.copy(piece, fill);
    fill += bytes.length;
    return undefined;
  }

  async function putContentSlowly(fd: number, size: number): Promise<void> {
    for (let done = 0; done < size;) {
      const read = readSync(fd, piece, fill, Math.min(PIECE - fill, size - done), done);
      if (read === 0) throw new Error(`file ended after ${done} of its ${size} bytes`);
      fill += read;
      done += read;
      if (fill === PIECE) await turnOver();
    }
    await put(paddingFor(size));
  }

  return {
    put,
    putContent(fd, size) {
      const padding = (BLOCK - (size % BLOCK)) % BLOCK;
      if (fill + size + padding >= PIECE) return putContentSlowly(fd, size);
      for (let done = 0; done < size;) {
        const read = readSync(fd, piece, fill + done, size - done, done);
        if (read === 0) throw new Error(`file ended after ${done} of its ${size} bytes`);
        done += read;
      }
      piece.fill(0, fill + size, fill + size + padding);
      fill += size + padding;
      return undefined;
    },
    async finish() {
      await turnOver();
      await writing;
      return { diffId: finishDigest(hash, ANY_SHA256), sizeBytes };
    },
    settle: () => writing.catch(() => undefined),
  };
}
