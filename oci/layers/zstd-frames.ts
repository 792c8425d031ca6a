// Node's zstd stream stops silently after the first frame, but layers are often many frames in a row (written in
// parallel, or one per file). This finds the frame borders (RFC 8878, section 3.1) and inflates frame by frame.
import { Readable, pipeline } from 'node:stream';
import { constants, createZstdDecompress } from 'node:zlib';
import { WindlassError } from '../../lib/errors.ts';

const FRAME_MAGIC = 0xfd2fb528;
/** 0x184D2A50 to 0x184D2A5F: a frame whose content is to be skipped. */
const SKIPPABLE_MAGIC = 0x184d2a50;
/** 128 MiB: the largest window a frame may ask memory for. */
const WINDOW_LOG_MAX = 27;
const OUTPUT_CHUNK = 256 * 1024;

/** Reads a byte stream in exact pieces. */
interface Cursor {
  /** Exactly `length` bytes, or undefined when the stream ends right here. */
  take(length: number): Promise<Buffer | undefined>;
  /** The next `length` bytes in pieces as they come. */
  pass(length: number): AsyncGenerator<Buffer>;
}

/** Inflates every frame of `source`. Throws Invalid for damaged or cut-off data. */
export async function* decompressZstd(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const cursor = createCursor(source);
  for (;;) {
    const magic = await cursor.take(4);
    if (magic === undefined) return;
    const value = magic.readUInt32LE(0);
    if ((value & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
      const size = (await must(cursor, 4)).readUInt32LE(0);
      for await (const _ of cursor.pass(size));
    } else if (value === FRAME_MAGIC) {
      const stream = createZstdDecompress({
        chunkSize: OUTPUT_CHUNK,
        params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX },
      });
      // Failures of either side end the iteration below, which is where they are thrown.
      pipeline(Readable.from(frame(magic, cursor), { objectMode: false }), stream, () => undefined);
      yield* stream as AsyncIterable<Buffer>;
    } else {
      throw damaged();
    }
  }
}

/** The bytes of one frame whose magic number was read already. */
async function* frame(magic: Buffer, cursor: Cursor): AsyncGenerator<Buffer> {
  yield magic;
  const descriptor = await must(cursor, 1);
  yield descriptor;
  const flags = descriptor[0] as number;
  const isSingleSegment = (flags & 0x20) !== 0;
  const contentSizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][flags >> 6] as number;
  const dictionaryIdBytes = [0, 1, 2, 4][flags & 3] as number;
  const rest = (isSingleSegment ? 0 : 1) + dictionaryIdBytes + contentSizeBytes;
  if (rest > 0) yield await must(cursor, rest);
  for (;;) {
    const header = await must(cursor, 3);
    yield header;
    const bits = header.readUIntLE(0, 3);
    // Block type 1 repeats one byte; type 3 is reserved and left for the decoder to refuse.
    yield* cursor.pass(((bits >> 1) & 3) === 1 ? 1 : bits >> 3);
    if (bits & 1) break;
  }
  if (flags & 4) yield await must(cursor, 4);
}

async function must(cursor: Cursor, length: number): Promise<Buffer> {
  const bytes = await cursor.take(length);
  if (bytes === undefined) throw damaged();
  return bytes;
}

function createCursor(source: AsyncIterable<Buffer>): Cursor {
  const iterator = source[Symbol.asyncIterator]();
  let rest: Buffer = Buffer.alloc(0);

  async function more(): Promise<boolean> {
    const next = await iterator.next();
    if (next.done) return false;
    rest = rest.length === 0 ? next.value : Buffer.concat([rest, next.value]);
    return true;
  }
  return {
    async take(length) {
      while (rest.length < length) {
        if (await more()) continue;
        if (rest.length === 0) return undefined;
        throw damaged();
      }
      const bytes = rest.subarray(0, length);
      rest = rest.subarray(length);
      return bytes;
    },
    async *pass(length) {
      let left = length;
      while (left > 0) {
        if (rest.length === 0 && !(await more())) throw damaged();
        const bytes = rest.subarray(0, Math.min(left, rest.length));
        rest = rest.subarray(bytes.length);
        left -= bytes.length;
        if (bytes.length > 0) yield bytes;
      }
    },
  };
}

function damaged(): WindlassError {
  return new WindlassError('Invalid', 'its compressed data is damaged');
}
