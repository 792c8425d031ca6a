// Frames of SPDY/3.1 (SPDY Protocol draft 3.1, section 2.2 and 2.6): numbers, and how those we send are written.

/** What a peer did against the protocol; the connection ends with it. */
export class SpdyError extends Error {
  override readonly name = 'SpdyError';
}

export const FRAME = {
  synStream: 1,
  synReply: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  headers: 8,
  windowUpdate: 9,
} as const;

export const FLAG = { fin: 0x01, unidirectional: 0x02 } as const;

export const RST = {
  protocolError: 1,
  invalidStream: 2,
  refusedStream: 3,
  cancel: 5,
  flowControlError: 7,
} as const;

export const GO_AWAY = { ok: 0, protocolError: 1 } as const;

export const SETTING = { initialWindowSize: 7 } as const;

export const VERSION = 3;
export const FRAME_HEADER_BYTES = 8;
/** Bytes a side may send before the other allows more, per stream and for the connection. */
export const INITIAL_WINDOW_BYTES = 64 * 1024;
export const MAX_WINDOW_BYTES = 0x7fffffff;
export const MAX_STREAM_ID = 0x7fffffff;

export function controlFrame(type: number, flags: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(FRAME_HEADER_BYTES);
  head.writeUInt16BE(0x8000 | VERSION, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt8(flags, 4);
  head.writeUIntBE(payload.length, 5, 3);
  return Buffer.concat([head, payload]);
}

/** The header of a DATA frame; its `length` bytes follow. */
export function dataHeader(streamId: number, length: number, isLast: boolean): Buffer {
  const head = Buffer.alloc(FRAME_HEADER_BYTES);
  head.writeUInt32BE(streamId, 0);
  head.writeUInt8(isLast ? FLAG.fin : 0, 4);
  head.writeUIntBE(length, 5, 3);
  return head;
}

export function synReply(streamId: number, headerBlock: Buffer): Buffer {
  return controlFrame(FRAME.synReply, 0, Buffer.concat([words(streamId), headerBlock]));
}

export const rstStream = (streamId: number, status: number): Buffer =>
  controlFrame(FRAME.rstStream, 0, words(streamId, status));

export const ping = (id: number): Buffer => controlFrame(FRAME.ping, 0, words(id));

export const goAway = (lastStreamId: number, status: number): Buffer =>
  controlFrame(FRAME.goAway, 0, words(lastStreamId, status));

/** Stream 0 is the connection as a whole. */
export const windowUpdate = (streamId: number, bytes: number): Buffer =>
  controlFrame(FRAME.windowUpdate, 0, words(streamId, bytes));

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, index * 4);
  return bytes;
}
