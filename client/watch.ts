// The frames of a watch: one JSON object per line, until the server closes the stream.
import { WindlassError } from '../lib/errors.ts';
import type { WatchEvent } from './client.ts';
import { statusError } from './status-error.ts';

/** No object is larger than the server's limit for one; a longer line is not a watch. */
const MAX_FRAME_BYTES = 16 * 1024 * 1024;

const NEWLINE = 0x0a;
const TYPES = new Set(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK']);

/** The lines of `chunks` without their ends. A rest without a line end is a cut frame and is dropped. */
export async function* splitLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  for await (const chunk of chunks) {
    let rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      pending.push(rest.subarray(0, end));
      const line = Buffer.concat(pending).toString('utf8');
      pending = [];
      pendingBytes = 0;
      rest = rest.subarray(end + 1);
      if (line.trim() !== '') yield line;
    }
    pending.push(rest);
    pendingBytes += rest.length;
    if (pendingBytes > MAX_FRAME_BYTES) {
      throw new WindlassError('Unavailable', `watch frame is larger than ${MAX_FRAME_BYTES} bytes`);
    }
  }
}

/** The event in one line. Throws the server's reason for an ERROR frame, and Unavailable for what is no frame. */
export function parseFrame<T>(line: string, what: string): WatchEvent<T> {
  let frame: { type?: unknown; object?: unknown };
  try {
    frame = JSON.parse(line) as typeof frame;
  } catch (error) {
    throw new WindlassError('Unavailable', `${what} sent a frame that is not JSON`, { cause: error });
  }
  const { type, object } = frame ?? {};
  if (type === 'ERROR') throw statusError(Number((object as { code?: unknown } | null)?.code ?? 500), object, what);
  if (typeof type !== 'string' || !TYPES.has(type) || object === null || typeof object !== 'object') {
    throw new WindlassError('Unavailable', `${what} sent a frame of unknown type ${JSON.stringify(type)}`);
  }
  return { type: type as WatchEvent<T>['type'], object: object as T };
}
