// Listening on TCP, and no longer.
import { once } from 'node:events';
import type { Server as HttpServer } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { formatHostPort, type HostPort } from './host-port.ts';

/** Resolves with `host:port` once the server listens (the port asked for may be 0); throws what the system says otherwise. */
export async function listenOn(server: Server, { host, port }: HostPort): Promise<string> {
  server.listen(port, host);
  await once(server, 'listening');
  return formatHostPort({ host, port: (server.address() as AddressInfo).port });
}

/** Ends the idle connections, those that are at work after `graceMs`, and resolves when nobody is connected any more. */
export async function closeServer(
  server: Server & Pick<HttpServer, 'closeIdleConnections' | 'closeAllConnections'>,
  { graceMs = 0 }: { graceMs?: number } = {},
): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), graceMs);
  await closed;
  clearTimeout(timer);
}
