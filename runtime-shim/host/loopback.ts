// TCP connections to the loopback addresses of a network namespace. A socket stays in the namespace it was made in, so
// it is made there in one synchronous step and connected by libuv later, from outside.
import { Socket } from 'node:net';
import { check, libc } from './libc.ts';
import { withNetns } from './namespaces.ts';

const AF = { '127.0.0.1': 2, '::1': 10 } as const;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
/** On loopback an answer is immediate; a firewall of the sandbox's own may give none. */
const CONNECT_MS = 10_000;

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
