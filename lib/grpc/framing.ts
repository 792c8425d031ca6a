// Messages in the body of a call: one byte (compressed or not), four of length, then the message
// (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md, "Length-Prefixed-Message").
import { CODES, GrpcError } from './codes.ts';

const PREFIX_BYTES = 5;

/** A message with its prefix. */
export function encodeFrame(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, PREFIX_BYTES);
  return frame;
}

export interface FrameReader {
  /** The messages that are complete with this chunk. Throws GrpcError for one that is too long or compressed. */
  push(chunk: Buffer): Buffer[];
  /** True when what came ends within a message. */
  isWithinFrame(): boolean;
}

/**
 * Takes messages of up to `maxBytes` apart; no more than that is ever kept. A compressed one fails with `compressedCode`
 * (github.com/grpc/grpc, doc/compression.md): UNIMPLEMENTED at a server, INTERNAL at a client.
 */
export function createFrameReader(maxBytes: number, compressedCode: number): FrameReader {
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  /** Of the frame that is waited for, prefix included; known when its prefix is there. */
  let neededBytes = PREFIX_BYTES;

  const readLength = (bytes: Buffer): number => {
    if (bytes[0] !== 0) throw new GrpcError({ code: compressedCode, message: 'compressed messages are not taken' });
    const length = bytes.readUInt32BE(1);
    if (length > maxBytes) {
      const message = `a message of ${length} bytes is larger than the ${maxBytes} that are taken`;
      throw new GrpcError({ code: CODES.RESOURCE_EXHAUSTED, message });
    }
    return PREFIX_BYTES + length;
  };

  return {
    push(chunk) {
      waiting.push(chunk);
      waitingBytes += chunk.length;
      const messages: Buffer[] = [];
      while (waitingBytes >= neededBytes) {
        const bytes = waiting.length === 1 ? (waiting[0] as Buffer) : Buffer.concat(waiting, waitingBytes);
        waiting = [bytes];
        if (neededBytes === PREFIX_BYTES) neededBytes = readLength(bytes);
        if (waitingBytes < neededBytes) break;
        messages.push(bytes.subarray(PREFIX_BYTES, neededBytes));
        const rest = bytes.subarray(neededBytes);
        waiting = rest.length > 0 ? [rest] : [];
        waitingBytes = rest.length;
        neededBytes = PREFIX_BYTES;
      }
      return messages;
    },
    isWithinFrame: () => waitingBytes > 0,
  };
}
