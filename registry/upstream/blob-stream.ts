// A blob that is on its way from the upstream, read while it grows: what has reached the disk is handed on, the rest
// is waited for.
import { open, type FileHandle } from 'node:fs/promises';
import { errnoOf } from '../../lib/errors.ts';

const READ_BYTES = 256 * 1024;

export interface Arrival {
  /** Where the bytes are while they come, and where they are at the end. */
  readonly partialPath: string;
  readonly path: string;
  /** Resolves when the blob is here, verified; rejects when it will not be. */
  readonly done: Promise<void>;
  /** Resolves when more may have come; never rejects. */
  more(): Promise<void>;
}

/** Bytes `start` to `end`, both included. Throws what `done` rejects with. */
export async function* streamArrival(
  { partialPath, path, done, more }: Arrival,
  start: number,
  end: number,
): AsyncGenerator<Buffer> {
  let isOver = false;
  const over = done.finally(() => {
    isOver = true;
  });
  // Awaited where it matters; without this a reader that leaves early would make a failure count as unhandled.
  over.catch(() => undefined);
  let file: FileHandle | undefined;
  try {
    for (let position = start; position <= end;) {
      // Both before the read: what comes while it is under way is not missed, and what is over by then is read to its end.
      const next = more();
      const wasOver = isOver;
      if (wasOver) await over;
      file ??= await openIfThere(wasOver ? path : partialPath);
      const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, end - position + 1));
      const { bytesRead } = (await file?.read(buffer, 0, buffer.length, position)) ?? { bytesRead: 0 };
      if (bytesRead > 0) {
        position += bytesRead;
        // The end is kept back until the whole is verified: a client that has all bytes believes them.
        if (position > end) await over;
        yield buffer.subarray(0, bytesRead);
      } else if (wasOver) {
        throw new Error(`${path} ends at ${position}, before ${end}`);
      } else {
        await Promise.race([next, over.catch(() => undefined)]);
      }
    }
  } finally {
    await file?.close();
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    return undefined;
  }
}
