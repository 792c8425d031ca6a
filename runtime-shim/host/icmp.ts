// Echo requests (RFC 792) over a raw socket that is bound to one address of this host, so that it sees nothing but what
// is sent there. The kernel answers requests itself; what they carry is read here as well.
import { closeSync } from 'node:fs';
import { check, lastErrno, libc, SystemError } from './libc.ts';
import { u32 } from './netlink.ts';
import { ipBytes } from './rtnetlink.ts';

const AF_INET = 2;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const IPPROTO_ICMP = 1;
const SOL_RAW = 255;
const ICMP_FILTER = 1;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const MSG_DONTWAIT = 0x40;
const HEADER_BYTES = 8;
const TYPE = { reply: 0, request: 8 } as const;
const EAGAIN = 11;
/** Of thousands of messages that come between two looks; the kernel holds memory only for what waits. */
const RECEIVE_BYTES = 4 * 1024 * 1024;

export interface EchoMessage {
  readonly kind: 'request' | 'reply';
  readonly from: string;
  readonly id: number;
  readonly payload: Buffer;
}

export interface EchoSocket extends Disposable {
  /** Sends a request; what the kernel refuses (no way there) throws a SystemError. */
  request(to: string, id: number, payload: Buffer): void;
  /** All that has come since the last call. */
  receive(): EchoMessage[];
}

/** Opens a socket in the current net namespace. EADDRNOTAVAIL when the host has not got the address. */
export function openEchoSocket(address: string): EchoSocket {
  const fd = check(libc.socket(AF_INET, SOCK_RAW_CLOEXEC, IPPROTO_ICMP), 'socket', 'icmp');
  try {
    const filter = ~((1 << TYPE.reply) | (1 << TYPE.request));
    check(libc.setsockopt(fd, SOL_RAW, ICMP_FILTER, u32(filter), 4), 'setsockopt', 'icmp');
    libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, u32(RECEIVE_BYTES), 4);
    check(libc.bind(fd, socketAddress(address), 16), 'bind', address);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  const buffer = Buffer.alloc(2048);
  return {
    request(to, id, payload) {
      const message = encodeRequest(id, payload);
      check(libc.sendto(fd, message, message.length, MSG_DONTWAIT, socketAddress(to), 16), 'sendto', to);
    },
    receive() {
      const messages: EchoMessage[] = [];
      for (;;) {
        const length = libc.recv(fd, buffer, buffer.length, MSG_DONTWAIT);
        if (length === -1) {
          if (lastErrno() === EAGAIN) return messages;
          throw new SystemError(lastErrno(), 'recv', address);
        }
        const message = decodeEcho(buffer.subarray(0, length));
        if (message) messages.push(message);
      }
    },
    [Symbol.dispose]: () => closeSync(fd),
  };
}

function socketAddress(ip: string): Buffer {
  const address = Buffer.alloc(16);
  address.writeUInt16LE(AF_INET, 0);
  ipBytes(ip).copy(address, 4);
  return address;
}

/** An echo request with its checksum. Pure. */
export function encodeRequest(id: number, payload: Buffer): Buffer {
  const message = Buffer.alloc(HEADER_BYTES + payload.length);
  message[0] = TYPE.request;
  message.writeUInt16BE(id, 4);
  payload.copy(message, HEADER_BYTES);
  message.writeUInt16BE(checksum(message), 2);
  return message;
}

/** The Internet checksum (RFC 1071). */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let index = 0; index < bytes.length; index += 2) sum += ((bytes[index] ?? 0) << 8) | (bytes[index + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** Reads an IPv4 packet with an echo message; undefined for anything else. The payload is a copy. Pure. */
export function decodeEcho(packet: Buffer): EchoMessage | undefined {
  const start = ((packet[0] ?? 0) & 0xf) * 4;
  if (packet.length < 20 || start < 20 || packet.length < start + HEADER_BYTES) return undefined;
  const type = packet[start];
  if (type !== TYPE.request && type !== TYPE.reply) return undefined;
  return {
    kind: type === TYPE.request ? 'request' : 'reply',
    from: packet.subarray(12, 16).join('.'),
    id: packet.readUInt16BE(start + 4),
    payload: Buffer.from(packet.subarray(start + HEADER_BYTES)),
  };
}
