// The netlink wire format (netlink(7)) and a socket that asks and waits for the answers. The kernel handles a request
// inside send(), so answers are already queued when it returns and nothing here ever blocks.
import { closeSync } from 'node:fs';
import { check, lastErrno, libc, sendInBackground, SystemError } from './libc.ts';

export const NETLINK = { route: 0, netfilter: 12, generic: 16 } as const;
export const NLM_F = { request: 1, ack: 4, replace: 0x100, excl: 0x200, create: 0x400, dump: 0x300 } as const;

const NLMSG = { error: 2, done: 3 } as const;
const HEADER_BYTES = 16;
const NESTED = 0x8000;

/** An attribute: type, and bytes or nested attributes. */
export type Attribute = readonly [type: number, value: Buffer | readonly Attribute[]];

/** Lengths of messages and attributes are rounded up to this. */
export const align = (length: number): number => (length + 3) & ~3;

/** Encodes attributes one after another, each padded to four bytes. */
export function encodeAttributes(attributes: readonly Attribute[]): Buffer {
  return Buffer.concat(
    attributes.map(([type, value]) => {
      const isNested = !Buffer.isBuffer(value);
      const payload = isNested ? encodeAttributes(value) : value;
      const bytes = Buffer.alloc(align(4 + payload.length));
      bytes.writeUInt16LE(4 + payload.length, 0);
      bytes.writeUInt16LE(isNested ? type | NESTED : type, 2);
      payload.copy(bytes, 4);
      return bytes;
    }),
  );
}

/** Attributes by type; a malformed tail ends the walk. The last of several with one type wins. */
export function decodeAttributes(bytes: Buffer): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  for (let offset = 0; offset + 4 <= bytes.length;) {
    const length = bytes.readUInt16LE(offset);
    if (length < 4 || offset + length > bytes.length) break;
    attributes.set(bytes.readUInt16LE(offset + 2) & 0x3fff, bytes.subarray(offset + 4, offset + length));
    offset += align(length);
  }
  return attributes;
}

export const u8 = (value: number): Buffer => Buffer.of(value);
export const u16 = (value: number): Buffer => Buffer.of(value & 0xff, value >> 8);
export const u16be = (value: number): Buffer => Buffer.of(value >> 8, value & 0xff);
export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
};
export const u32be = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};
/** A null-terminated string. */
export const text = (value: string): Buffer => Buffer.from(`${value}\0`);

/** A request before it has a sequence number. */
export interface NetlinkRequest {
  readonly type: number;
  readonly flags: number;
  /** Family header and attributes. */
  readonly body: Buffer;
  /** For the error message: what this request does, e.g. `create link x`. */
  readonly effect: string;
}

export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly portId: number;
  readonly body: Buffer;
}

/** Splits what recv() returned into messages. */
export function decodeMessages(bytes: Buffer): NetlinkMessage[] {
  const messages: NetlinkMessage[] = [];
  for (let offset = 0; offset + HEADER_BYTES <= bytes.length;) {
    const length = bytes.readUInt32LE(offset);
    if (length < HEADER_BYTES || offset + length > bytes.length) break;
    messages.push({
      type: bytes.readUInt16LE(offset + 4),
      flags: bytes.readUInt16LE(offset + 6),
      sequence: bytes.readUInt32LE(offset + 8),
      portId: bytes.readUInt32LE(offset + 12),
      body: bytes.subarray(offset + HEADER_BYTES, offset + length),
    });
    offset += align(length);
  }
  return messages;
}

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const SOL_NETLINK = 270;
const OPTION = { addMembership: 1, capAck: 10, extAck: 11, strictCheck: 12 } as const;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const MSG_DONTWAIT = 0x40;
/** Of many links that change within one look; the kernel holds memory only for what waits. */
const EVENT_BYTES = 4 * 1024 * 1024;
const ERRNO = { interrupted: 4, nothingThere: 11, overrun: 105 } as const;

/** Owns a netlink socket of the net namespace it was opened in. */
export class NetlinkSocket implements Disposable {
  readonly #fd: number;
  /** What was received is copied out of it before anybody else can use it: a socket is often opened for one request. */
  static readonly #buffer = Buffer.alloc(128 * 1024);
  #sequence = 0;
  readonly portId: number;

  constructor(protocol: number, groups: readonly number[] = []) {
    this.#fd = check(libc.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, protocol), 'socket', 'netlink');
    const address = Buffer.alloc(12);
    address.writeUInt16LE(AF_NETLINK, 0);
    check(libc.bind(this.#fd, address, address.length), 'bind', 'netlink');
    check(libc.getsockname(this.#fd, address, u32(address.length)), 'getsockname', 'netlink');
    this.portId = address.readUInt32LE(4);
    for (const option of [OPTION.capAck, OPTION.extAck]) libc.setsockopt(this.#fd, SOL_NETLINK, option, u32(1), 4);
    if (groups.length > 0) libc.setsockopt(this.#fd, SOL_SOCKET, SO_RCVBUFFORCE, u32(EVENT_BYTES), 4);
    for (const group of groups)
      check(libc.setsockopt(this.#fd, SOL_NETLINK, OPTION.addMembership, u32(group), 4), 'setsockopt', 'netlink');
  }

  /**
   * Sends the requests in one call, in order, and returns what came back besides acknowledgements. Throws the first
   * refusal as a SystemError with the effect of its request and the kernel's own words.
   */
  request(requests: readonly NetlinkRequest[]): NetlinkMessage[] {
    const { first, bytes } = this.#encode(requests);
    check(libc.send(this.#fd, bytes, bytes.length, 0), 'send', 'netlink');
    return this.#answers(first, requests);
  }

  /**
   * Does `work`, for whose requests the kernel leaves out of a list what the request does not name, instead of sending all
   * that it has. Undefined, with nothing done, by a kernel before 4.20, which cannot.
   */
  strictly<T>(work: () => T): T | undefined {
    const set = (value: number): number => libc.setsockopt(this.#fd, SOL_NETLINK, OPTION.strictCheck, u32(value), 4);
    if (set(1) !== 0) return undefined;
    try {
      return work();
    } finally {
      set(0);
    }
  }

  /**
   * request() on a thread of the pool, for what the kernel takes long to do (it waits for readers of the link that goes).
   * The socket must have no other request meanwhile.
   */
  async requestInBackground(requests: readonly NetlinkRequest[]): Promise<NetlinkMessage[]> {
    const { first, bytes } = this.#encode(requests);
    await sendInBackground(this.#fd, bytes);
    return this.#answers(first, requests);
  }

  #encode(requests: readonly NetlinkRequest[]): { first: number; bytes: Buffer } {
    const first = this.#sequence;
    this.#sequence += requests.length;
    return { first, bytes: Buffer.concat(requests.map((request, index) => encodeMessage(request, first + index))) };
  }

  #answers(first: number, requests: readonly NetlinkRequest[]): NetlinkMessage[] {
    const answers: NetlinkMessage[] = [];
    let failure: SystemError | undefined;
    for (const message of this.#drain(first, requests)) {
      if (message.type === NLMSG.error) failure ??= decodeError(message, requests[message.sequence - first]?.effect);
      else if (message.type !== NLMSG.done) answers.push(message);
    }
    if (failure) throw failure;
    return answers;
  }

  /** Multicast messages that are waiting; `overrun` when the kernel had to drop some. */
  receive(): { messages: NetlinkMessage[]; overrun: boolean } {
    return this.#receive(0, Number.POSITIVE_INFINITY);
  }

  /** What is waiting, up to so many acknowledgements of requests from `first` on. */
  #receive(first: number, acknowledgements: number): { messages: NetlinkMessage[]; overrun: boolean } {
    const messages: NetlinkMessage[] = [];
    let overrun = false;
    for (let left = acknowledgements; left > 0;) {
      const length = libc.recv(this.#fd, NetlinkSocket.#buffer, NetlinkSocket.#buffer.length, MSG_DONTWAIT);
      if (length >= 0) {
        const received = decodeMessages(Buffer.from(NetlinkSocket.#buffer.subarray(0, length)));
        for (const { type, sequence } of received) if (type === NLMSG.error && sequence >= first) left -= 1;
        messages.push(...received);
        continue;
      }
      // By number: an error with a stack, at the end of every look, would be the dearest part of it.
      const errno = lastErrno();
      if (errno === ERRNO.nothingThere) break;
      if (errno === ERRNO.overrun) overrun = true;
      else if (errno !== ERRNO.interrupted) throw new SystemError(errno, 'recv', 'netlink');
    }
    return { messages, overrun };
  }

  /** Answers from `first` on; late ones of an earlier request that failed half way are dropped. */
  #drain(first: number, requests: readonly NetlinkRequest[]): NetlinkMessage[] {
    const isList = requests.some(({ flags }) => (flags & NLM_F.dump) !== 0);
    // They are queued when send() returns: a last look, to find nothing, is needed only where their number is unknown.
    const expected = requests.filter(({ flags }) => (flags & NLM_F.ack) !== 0).length;
    const { messages } = this.#receive(first, isList ? Number.POSITIVE_INFINITY : expected);
    return messages.filter(({ sequence }) => sequence >= first);
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

function encodeMessage(request: NetlinkRequest, sequence: number): Buffer {
  const bytes = Buffer.alloc(align(HEADER_BYTES + request.body.length));
  bytes.writeUInt32LE(HEADER_BYTES + request.body.length, 0);
  bytes.writeUInt16LE(request.type, 4);
  bytes.writeUInt16LE(request.flags | NLM_F.request, 6);
  bytes.writeUInt32LE(sequence, 8);
  request.body.copy(bytes, HEADER_BYTES);
  return bytes;
}

const NLMSGERR_ATTR_MSG = 1;

function decodeError(message: NetlinkMessage, effect: string | undefined): SystemError | undefined {
  const errno = -message.body.readInt32LE(0);
  if (errno === 0) return undefined;
  // With NETLINK_CAP_ACK the header of the request follows, then the extended attributes.
  const words = decodeAttributes(message.body.subarray(4 + HEADER_BYTES)).get(NLMSGERR_ATTR_MSG);
  return new SystemError(errno, 'netlink', effect, words?.toString('utf8').replace(/\0.*$/s, ''));
}
