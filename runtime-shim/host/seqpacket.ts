// Unix sockets of type SEQPACKET, which keep the borders of what is sent. libuv has no handle for them, but polled as a
// stream one read() gets one packet, one write() sends one.
import { closeSync } from 'node:fs';
import koffi from 'koffi';
import { check, libc } from './libc.ts';
import { pollDescriptor } from './poll-descriptor.ts';
import { AF_UNIX, unixAddress } from './unix-address.ts';

const library = koffi.load(null);
const call = <T>(name: string, parameters: readonly string[]): T =>
  library.func(name, 'int', [...parameters]) as unknown as T;
const connect = call<(fd: number, address: Buffer, length: number) => number>('connect', ['int', 'void *', 'uint']);

const SOCK_SEQPACKET = 5;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
/** A packet that is larger would lose its end. conmon's are 8 KiB and one byte. */
const MAX_PACKET_BYTES = 64 * 1024;

export interface PacketSocket {
  /** After onPacket said false. */
  resume(): void;
  /** Sends one packet; at most one may be under way. */
  send(packet: Buffer, done: (error?: Error | null) => void): void;
  /** Nothing more will be sent; packets still come. */
  endWriting(): void;
  destroy(): void;
}

export interface PacketListener {
  /** Gets a packet for itself; false stops the reading until resume(). */
  onPacket(packet: Buffer): boolean;
  /** The other end closed, or destroy() was called. */
  onClose(): void;
}

/**
 * Connects to the socket `name` in `directory`, through a descriptor so that no path is too long. Throws ECONNREFUSED or
 * ENOENT where nobody listens. Does not keep the process alive.
 */
export function connectSeqpacket(directory: string, name: string, listener: PacketListener): PacketSocket {
  const onread = {
    buffer: Buffer.alloc(MAX_PACKET_BYTES),
    callback: (length: number, buffer: Uint8Array): boolean =>
      listener.onPacket(Buffer.from(buffer.subarray(0, length))),
  };
  const fd = openConnected(directory, name);
  const { socket } = pollDescriptor(fd, { allowHalfOpen: true, readable: true, writable: true, onread });
  socket.unref();
  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.destroy());
  socket.once('close', () => listener.onClose());
  return {
    resume: () => void socket.resume(),
    send: (packet, done) => void socket.write(packet, done),
    endWriting: () => void socket.end(),
    destroy: () => void socket.destroy(),
  };
}

function openConnected(directory: string, name: string): number {
  using address = unixAddress(directory, name);
  const fd = check(libc.socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket');
  try {
    check(connect(fd, address.bytes, address.bytes.length), 'connect', `${directory}/${name}`);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
