// TCP on loopback: connections to the addresses of a network namespace, and a listener with small buffers. A socket stays
// in the namespace it was made in, so it is made there in one synchronous step and connected by libuv later, from outside.
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { check, libc } from './libc.ts';
import { withNetns } from './namespaces.ts';

const AF = { '127.0.0.1': 2, '::1': 10 } as const;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
/** On loopback an answer is immediate; a firewall of the sandbox's own may give none. */
const CONNECT_MS = 10_000;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;

/**
 * A descriptor for `server.listen({ fd })`, bound to a free port on 127.0.0.1, whose connections have these buffers: left
 * to itself the kernel lets each grow to several MiB for a client that does not read.
 */
export function bindLoopback(bufferBytes: number): number {
  const fd = check(libc.socket(AF['127.0.0.1'], SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket');
  try {
    const size = Buffer.alloc(4);
    size.writeInt32LE(bufferBytes);
    for (const option of [SO_SNDBUF, SO_RCVBUF]) {
      check(libc.setsockopt(fd, SOL_SOCKET, option, size, size.length), 'setsockopt');
    }
    const address = Buffer.alloc(16);
    address.writeUInt16LE(AF['127.0.0.1'], 0);
    Buffer.of(127, 0, 0, 1).copy(address, 4);
    check(libc.bind(fd, address, address.length), 'bind', '127.0.0.1');
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * Connects to a port on 127.0.0.1, else on ::1, of the network namespace pinned at `netns` (undefined = the host's).
 * Rejects with the error of the first address when neither answers.
 */
export async function connectToLoopback(netns: string | undefined, port: number): Promise<Socket> {
  try {
    return await connectTo(netns, '127.0.0.1', port);
  } catch (error) {
    try {
      return await connectTo(netns, '::1', port);
    } catch {
      // A namespace without IPv6 would only say that it has none.
      throw error;
    }
  }
}

async function connectTo(netns: string | undefined, address: keyof typeof AF, port: number): Promise<Socket> {
  const open = (): number => check(libc.socket(AF[address], SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket');
  const fd = netns === undefined ? open() : withNetns(netns, open);
  const socket = new Socket({ fd, allowHalfOpen: true });
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => socket.destroy(new Error('connection timed out')), CONNECT_MS);
    socket.once('error', reject);
    socket.once('close', () => clearTimeout(timer));
    socket.connect({ host: address, port }, () => {
      clearTimeout(timer);
      socket.off('error', reject);
      resolve();
    });
  });
  socket.setNoDelay(true);
  return socket;
}
