// One relayed connection: from a client to a backend that is told the client's address by a PROXY protocol header, version
// 1 (haproxy's doc/proxy-protocol.txt), since the kernel can translate packets but not put bytes in front of a stream.
import { connect, type Socket } from 'node:net';
import type { ServiceBackend } from './node-network.ts';

const CONNECT_MS = 3000;
/** A backend that refuses or does not answer costs a client one more try, not its connection. */
const MAX_TRIES = 3;
/** Dead clients are noticed: nothing but the two kernels would ever end such a connection. */
const KEEP_ALIVE_MS = 60_000;

export interface Endpoints {
  readonly clientIp: string;
  readonly clientPort: number;
  /** What the client connected to. */
  readonly serverIp: string;
  readonly serverPort: number;
}

/** The header's line. Pure. */
export function proxyHeader({ clientIp, serverIp, clientPort, serverPort }: Endpoints): string {
  return `PROXY TCP4 ${clientIp} ${serverIp} ${clientPort} ${serverPort}\r\n`;
}

/**
 * Connects the client to the first backend that takes it, asking `choose` before each try, and resolves when both directions have ended; false when
 * there was none. Each direction ends by itself (half-close), neither reads more than the other end takes, and a reset of one
 * side resets the other. Never rejects; both sockets are gone when it resolves.
 */
export async function relayConnection(
  client: Socket,
  choose: () => ServiceBackend | undefined,
  header: string,
): Promise<boolean> {
  // Before anything is read of it, an error has nobody else who listens.
  client.on('error', () => undefined);
  for (let count = 0; count < MAX_TRIES; count += 1) {
    if (client.destroyed) return true;
    const backend = choose();
    if (!backend) break;
    const server = await open(backend);
    if (!server) continue;
    if (client.destroyed) {
      server.destroy();
      return true;
    }
    server.write(header);
    await join(client, server);
    return true;
  }
  client.resetAndDestroy();
  return false;
}

/** Undefined when the backend does not take the connection in time. */
function open({ ip, port }: ServiceBackend): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: ip, port, allowHalfOpen: true, noDelay: true });
    const giveUp = (): void => {
      socket.destroy();
      resolve(undefined);
    };
    // Errors that come later are told to those who listen then.
    socket.on('error', giveUp);
    socket.setTimeout(CONNECT_MS, giveUp);
    socket.once('connect', () => {
      socket.setTimeout(0, giveUp);
      resolve(socket);
    });
  });
}

function join(client: Socket, server: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let open = 2;
  for (const [one, other] of [
    [client, server],
    [server, client],
  ] as const) {
    one.setKeepAlive(true, KEEP_ALIVE_MS);
    // pipe() stops reading while the other end is full, and passes the end on.
    one.pipe(other);
    // A reset is no end: the other side must not take what it has for all there was.
    one.on('error', () => other.resetAndDestroy());
    one.once('close', () => {
      open -= 1;
      if (open === 0) resolve();
      else if (!one.readableEnded) other.resetAndDestroy();
    });
  }
  return promise;
}
