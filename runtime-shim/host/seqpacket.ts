// Unix sockets of type SEQPACKET, which keep the borders of what is sent. libuv has no handle for them, but its handle
// for stream sockets does the right thing: one read() gets one packet, one write() sends one. It only looks at the type
// once, when it is given a descriptor; so it is given a stream socket, which is replaced before anything is polled.
import { closeSync, constants, openSync } from 'node:fs';
import { Socket } from 'node:net';
import koffi from 'koffi';
import { check, libc } from './libc.ts';

const library = koffi.load(null);
const call = <T>(name: string, parameters: readonly string[]): T =>
  library.func(name, 'int', [...parameters]) as unknown as T;
const connect = call<(fd: number, address: Buffer, length: number) => number>('connect', ['int', 'void *', 'uint']);
const dup3 = call<(from: number, to: number, flags: number) => number>('dup3', ['int', 'int', 'int']);

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_SEQPACKET = 5;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const O_CLOEXEC = 0o2000000;
const SUN_PATH_BYTES = 108;
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
  const fd = openConnected(directory, name);
  let socket: Socket;
  try {
    const placeholder = check(libc.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket');
    const onread = {
      buffer: Buffer.alloc(MAX_PACKET_BYTES),
      callback: (length: number, buffer: Uint8Array): boolean =>
        listener.onPacket(Buffer.from(buffer.subarray(0, length))),
    };
    socket = new Socket({ fd: placeholder, allowHalfOpen: true, readable: true, writable: true, onread });
    check(dup3(fd, placeholder, O_CLOEXEC), 'dup3');
  } finally {
    closeSync(fd);
  }
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
  const folder = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const path = `/proc/self/fd/${folder}/${name}`;
    const address = Buffer.alloc(2 + SUN_PATH_BYTES);
    address.writeUInt16LE(AF_UNIX, 0);
    address.write(path, 2);
    const fd = check(libc.socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket');
    try {
      check(connect(fd, address, address.length), 'connect', `${directory}/${name}`);
      return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  } finally {
    closeSync(folder);
  }
}
