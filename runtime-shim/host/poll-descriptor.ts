// The event loop for descriptors of which libuv makes no handle. Its handle for stream sockets only polls, reads and
// writes, which suits others as well; it looks at the type once, when it is given a descriptor. So it is given a socket,
// which is replaced before anything is polled.
import { closeSync } from 'node:fs';
import { Socket, type SocketConstructorOpts } from 'node:net';
import koffi from 'koffi';
import { check, libc } from './libc.ts';
import { AF_UNIX } from './unix-address.ts';

const library = koffi.load(null);
const call = <T>(name: string, parameters: readonly string[]): T =>
  library.func(name, 'int', [...parameters]) as unknown as T;
const dup3 = call<(from: number, to: number, flags: number) => number>('dup3', ['int', 'int', 'int']);
const epollCreate1 = call<(flags: number) => number>('epoll_create1', ['int']);
const epollCtl = call<(epoll: number, operation: number, fd: number, event: Buffer) => number>('epoll_ctl', [
  'int',
  'int',
  'int',
  'void *',
]);

const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLLIN = 1;

export interface PolledDescriptor {
  readonly socket: Socket;
  /** Of the same file; the socket's to close. */
  readonly fd: number;
}

/** A Socket that reads and writes `fd`, which does not block. The descriptor is taken over, also on failure. */
export function pollDescriptor(fd: number, options: SocketConstructorOpts): PolledDescriptor {
  try {
    const placeholder = check(libc.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | O_CLOEXEC, 0), 'socket');
    const socket = new Socket({ ...options, fd: placeholder });
    check(dup3(fd, placeholder, O_CLOEXEC), 'dup3');
    return { socket, fd: placeholder };
  } finally {
    closeSync(fd);
  }
}

/** Calls back once when `fd` can be read, and reads nothing; never after it was disposed. */
export function onceReadable(fd: number, callback: () => void): Disposable {
  const epoll = check(epollCreate1(O_CLOEXEC), 'epoll_create1');
  const event = Buffer.alloc(16);
  event.writeUInt32LE(EPOLLIN, 0);
  try {
    check(epollCtl(epoll, EPOLL_CTL_ADD, fd, event), 'epoll_ctl');
  } catch (error) {
    closeSync(epoll);
    throw error;
  }
  const { socket } = pollDescriptor(epoll, { readable: true, writable: false });
  // An epoll descriptor is itself readable when one of its own is, and to read it is EINVAL.
  socket.once('error', callback);
  return {
    [Symbol.dispose]() {
      socket.off('error', callback);
      socket.on('error', () => undefined);
      socket.destroy();
    },
  };
}
