// Names and values of SPDY/3 headers, compressed as one zlib stream per direction that is flushed after every block.
// A flushed block ends on a byte and needs no more than the 32 KiB before it, so each is read by one bounded call
// instead of a decompressor that lives with the connection.
import { constants, inflateRawSync } from 'node:zlib';
import { messageOf } from '../../../lib/errors.ts';
import { DICTIONARY, DICTIONARY_ID } from './dictionary.ts';
import { SpdyError } from './frames.ts';

export type Headers = ReadonlyMap<string, string>;

/** What a block may grow to, and hold; a client of ours sends three short headers. */
export const MAX_HEADER_BYTES = 16 * 1024;
export const MAX_HEADERS = 100;

const WINDOW_BYTES = 32 * 1024;
const ZLIB_HEADER_BYTES = 2;
const HAS_DICTIONARY = 0x20;

export interface HeaderReader {
  /** Headers of the next block of the connection. Throws SpdyError for one that is damaged or too large. */
  read(block: Buffer): Headers;
}

export function createHeaderReader(): HeaderReader {
  let window: Buffer | undefined;
  return {
    read(block) {
      let compressed = block;
      if (window === undefined) {
        const start = readZlibHeader(block);
        window = start.dictionary;
        compressed = block.subarray(start.length);
      }
      const text = inflate(compressed, window);
      window = Buffer.concat([window, text]).subarray(-WINDOW_BYTES);
      return parseHeaders(text);
    },
  };
}

/** RFC 1950, section 2.2. */
function readZlibHeader(block: Buffer): { dictionary: Buffer; length: number } {
  if (block.length < ZLIB_HEADER_BYTES || (block.readUInt8(0) & 0x0f) !== 8 || block.readUInt16BE(0) % 31 !== 0) {
    throw new SpdyError('the header block is no zlib stream');
  }
  if ((block.readUInt8(1) & HAS_DICTIONARY) === 0) return { dictionary: Buffer.alloc(0), length: ZLIB_HEADER_BYTES };
  if (block.length < ZLIB_HEADER_BYTES + 4 || block.readUInt32BE(ZLIB_HEADER_BYTES) !== DICTIONARY_ID) {
    throw new SpdyError('the header block wants another dictionary');
  }
  return { dictionary: DICTIONARY, length: ZLIB_HEADER_BYTES + 4 };
}

function inflate(compressed: Buffer, dictionary: Buffer): Buffer {
  try {
    return inflateRawSync(compressed, {
      ...(dictionary.length > 0 ? { dictionary } : {}),
      finishFlush: constants.Z_SYNC_FLUSH,
      maxOutputLength: MAX_HEADER_BYTES,
    });
  } catch (error) {
    throw new SpdyError(`the header block is damaged or larger than ${MAX_HEADER_BYTES} bytes: ${messageOf(error)}`);
  }
}

function parseHeaders(text: Buffer): Headers {
  const headers = new Map<string, string>();
  let offset = 0;
  const readNumber = (): number => {
    if (text.length - offset < 4) throw new SpdyError('the header block ends early');
    offset += 4;
    return text.readUInt32BE(offset - 4);
  };
  const readText = (): string => {
    const length = readNumber();
    if (length > text.length - offset) throw new SpdyError('the header block ends early');
    offset += length;
    return text.toString('utf8', offset - length, offset);
  };
  const count = readNumber();
  if (count > MAX_HEADERS) throw new SpdyError(`the header block has ${count} headers`);
  for (let index = 0; index < count; index += 1) {
    const name = readText();
    if (name === '' || name !== name.toLowerCase() || headers.has(name)) {
      throw new SpdyError(`the header ${JSON.stringify(name.slice(0, 64))} is empty, not lower-case or there twice`);
    }
    headers.set(name, readText());
  }
  return headers;
}

export interface HeaderWriter {
  /** The next block of the connection. */
  write(headers: Headers): Buffer;
}

/** Blocks are stored, not compressed: they are a few bytes, and so no state is kept per connection. */
export function createHeaderWriter(): HeaderWriter {
  let isFirst = true;
  return {
    write(headers) {
      const parts = [uint32(headers.size)];
      for (const text of [...headers].flat()) {
        const bytes = Buffer.from(text);
        parts.push(uint32(bytes.length), bytes);
      }
      // The empty stored block is what a sync flush ends with: without it a reader may wait for more.
      const block = [storedBlock(Buffer.concat(parts)), storedBlock(Buffer.alloc(0))];
      if (isFirst) block.unshift(Buffer.from([0x78, 0xbb]), uint32(DICTIONARY_ID));
      isFirst = false;
      return Buffer.concat(block);
    },
  };
}

/** RFC 1951, section 3.2.4; never the last one. */
function storedBlock(data: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt16LE(data.length, 1);
  head.writeUInt16LE(data.length ^ 0xffff, 3);
  return Buffer.concat([head, data]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
