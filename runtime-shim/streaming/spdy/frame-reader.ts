// Cuts the bytes of a connection into SPDY frames. Control frames are small and come whole; data is handed on as it
// comes, so that nothing is held here.
import { FLAG, FRAME, FRAME_HEADER_BYTES, MAX_STREAM_ID, SpdyError, VERSION } from './frames.ts';

/** Largest control frame that is read: header blocks are bounded again once they are inflated. */
export const MAX_CONTROL_BYTES = 16 * 1024;
const MAX_SETTINGS = 64;

export type ControlFrame =
  | { readonly kind: 'synStream'; readonly streamId: number; readonly block: Buffer; readonly flags: number }
  | { readonly kind: 'headers'; readonly streamId: number; readonly block: Buffer; readonly flags: number }
  | { readonly kind: 'rstStream'; readonly streamId: number; readonly status: number }
  | { readonly kind: 'settings'; readonly values: ReadonlyMap<number, number> }
  | { readonly kind: 'ping'; readonly id: number }
  | { readonly kind: 'goAway' }
  | { readonly kind: 'windowUpdate'; readonly streamId: number; readonly bytes: number };

export interface FrameSink {
  onControl(frame: ControlFrame): void;
  /** A part of a DATA frame; `isLast` with the last part of a stream's last frame. */
  onData(streamId: number, data: Buffer, isLast: boolean): void;
}

export interface FrameReader {
  /** Throws SpdyError for what is no SPDY/3.1; the reader is of no use after that. */
  push(chunk: Buffer): void;
}

export function createFrameReader(sink: FrameSink): FrameReader {
  let kept: Buffer = Buffer.alloc(0);
  /** The DATA frame that is being read. */
  let data: { readonly streamId: number; readonly isLast: boolean; missing: number } | undefined;

  function readData(bytes: Buffer): Buffer {
    if (!data) return bytes;
    const part = bytes.subarray(0, data.missing);
    data.missing -= part.length;
    const { streamId, isLast, missing } = data;
    if (missing === 0) data = undefined;
    sink.onData(streamId, part, isLast && missing === 0);
    return bytes.subarray(part.length);
  }

  return {
    push(chunk) {
      let bytes = kept.length > 0 ? Buffer.concat([kept, chunk]) : chunk;
      kept = Buffer.alloc(0);
      for (;;) {
        if (data && bytes.length > 0) bytes = readData(bytes);
        if (data || bytes.length < FRAME_HEADER_BYTES) break;
        const length = bytes.readUIntBE(5, 3);
        if ((bytes.readUInt8(0) & 0x80) === 0) {
          const streamId = bytes.readUInt32BE(0);
          if (streamId === 0) throw new SpdyError('data for stream 0');
          data = { streamId, isLast: (bytes.readUInt8(4) & FLAG.fin) !== 0, missing: length };
          bytes = bytes.subarray(FRAME_HEADER_BYTES);
          if (length === 0) bytes = readData(bytes);
          continue;
        }
        if ((bytes.readUInt16BE(0) & 0x7fff) !== VERSION) throw new SpdyError('another version of SPDY');
        if (length > MAX_CONTROL_BYTES) throw new SpdyError(`a control frame of ${length} bytes`);
        const end = FRAME_HEADER_BYTES + length;
        if (bytes.length < end) break;
        const frame = parseControl(bytes.readUInt16BE(2), bytes.readUInt8(4), bytes.subarray(FRAME_HEADER_BYTES, end));
        bytes = bytes.subarray(end);
        if (frame) sink.onControl(frame);
      }
      // A copy: what is left of a large chunk must not keep all of it.
      kept = Buffer.from(bytes);
    },
  };
}

/** Undefined for a type that is not known, which is to be ignored (section 2.2.1). */
function parseControl(type: number, flags: number, payload: Buffer): ControlFrame | undefined {
  const word = (index: number): number => payload.readUInt32BE(index * 4);
  const expectLength = (isRight: boolean): void => {
    if (!isRight) throw new SpdyError(`a control frame of type ${type} with ${payload.length} bytes`);
  };
  switch (type) {
    case FRAME.synStream:
      expectLength(payload.length >= 10);
      return { kind: 'synStream', streamId: streamIdOf(word(0)), block: payload.subarray(10), flags };
    case FRAME.synReply:
    case FRAME.headers:
      expectLength(payload.length >= 4);
      return { kind: 'headers', streamId: streamIdOf(word(0)), block: payload.subarray(4), flags };
    case FRAME.rstStream:
      expectLength(payload.length === 8);
      return { kind: 'rstStream', streamId: streamIdOf(word(0)), status: word(1) };
    case FRAME.settings:
      expectLength(payload.length >= 4 && word(0) <= MAX_SETTINGS && payload.length === 4 + word(0) * 8);
      return { kind: 'settings', values: parseSettings(payload.subarray(4)) };
    case FRAME.ping:
      expectLength(payload.length === 4);
      return { kind: 'ping', id: word(0) };
    case FRAME.goAway:
      expectLength(payload.length === 8);
      return { kind: 'goAway' };
    case FRAME.windowUpdate:
      expectLength(payload.length === 8);
      return { kind: 'windowUpdate', streamId: word(0) & MAX_STREAM_ID, bytes: word(1) & 0x7fffffff };
    default:
      return undefined;
  }
}

function streamIdOf(word: number): number {
  const id = word & MAX_STREAM_ID;
  if (id === 0) throw new SpdyError('a control frame for stream 0');
  return id;
}

function parseSettings(entries: Buffer): Map<number, number> {
  const values = new Map<number, number>();
  for (let offset = 0; offset < entries.length; offset += 8) {
    values.set(entries.readUIntBE(offset + 1, 3), entries.readUInt32BE(offset + 4));
  }
  return values;
}
