// Bytes of a file to a client: read into a buffer that is used again and again, and written when the last write has gone.
// A stream makes a new buffer for each read, which costs as much processor time as the reading itself.
import { open } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';

const BUFFER_BYTES = 256 * 1024;
/** Buffers that are kept for the next answers. */
const MAX_KEPT = 32;

/** Bytes `start` to `end`, both included, of a file. */
export interface FileBody {
  readonly path: string;
  readonly start: number;
  readonly end: number;
}

export interface FileSender {
  /** Ends the response with the bytes; resolves with how many were sent: fewer when the client has left. */
  send(response: ServerResponse, body: FileBody): Promise<number>;
}

/** A sender without buffers yet. */
export function createFileSender(): FileSender {
  const kept: Buffer[] = [];
  return {
    async send(response, { path, start, end }) {
      await using file = await open(path, 'r');
      const buffer = kept.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES);
      for (let position = start; position <= end;) {
        const length = Math.min(BUFFER_BYTES, end - position + 1);
        const { bytesRead } = await file.read(buffer, 0, length, position);
        if (bytesRead === 0) throw new Error(`${path} ends at ${position}, before ${end}`);
        // Whoever has left may still have a write under way: the buffer is not used again.
        if (!(await write(response, buffer.subarray(0, bytesRead)))) return position - start;
        position += bytesRead;
      }
      if (kept.length < MAX_KEPT) kept.push(buffer);
      response.end();
      return end - start + 1;
    },
  };
}

/** Resolves when the bytes have gone: true, or false when the client has left. */
function write(response: ServerResponse, bytes: Buffer): Promise<boolean> {
  if (response.destroyed) return Promise.resolve(false);
  return new Promise((resolve) => {
    const onClose = (): void => resolve(false);
    response.once('close', onClose);
    response.write(bytes, (error) => {
      response.off('close', onClose);
      resolve(!error);
    });
  });
}
