// Published TCP ports whose backends are told the client's address by a header. Each has a listener of this process on a
// port of its own, to which the packet filter leads what comes for the published one.
import { createServer, type Server, type Socket } from 'node:net';
import type { Logger } from '../../lib/log.ts';
import type { ServiceBackend, ServicePort, ServiceSpec } from './node-network.ts';
import { proxyHeader, relayConnection } from './relay-connection.ts';
import { isRelayed, serviceChain } from './service-plan.ts';
import { orderForClient } from './client-order.ts';

/** Two descriptors and some 20 KB each. */
const MAX_CONNECTIONS = 8192;
const BACKLOG = 4096;

export interface RelayCounts {
  readonly open: number;
  readonly accepted: number;
  /** Beyond MAX_CONNECTIONS. */
  readonly refused: number;
  /** No backend took them. */
  readonly failed: number;
}

export interface Relays {
  /**
   * Makes the listeners those of the services. Open connections go on, to the backend they have, until they end by themselves.
   */
  sync(services: readonly ServiceSpec[]): Promise<void>;
  /** Chain of a service port -> port of its listener. */
  readonly ports: ReadonlyMap<string, number>;
  counts(): RelayCounts;
  /** Ends every listener and connection. */
  close(): void;
}

interface Relay {
  readonly server: Server;
  port: ServicePort;
}

/** Those at other addresses, a node being one for all that it has; where there are none, others at the same. Pure. */
export function untried(
  backends: readonly ServiceBackend[],
  tried: readonly ServiceBackend[],
): readonly ServiceBackend[] {
  const isSameAddress = (a: ServiceBackend, b: ServiceBackend): boolean => a.ip === b.ip && a.port === b.port;
  const left = backends.filter(({ id }) => !tried.some((one) => one.id === id));
  const elsewhere = left.filter((backend) => !tried.some((one) => isSameAddress(one, backend)));
  return elsewhere.length > 0 ? elsewhere : left;
}

/** `servingBackends` gives those that the kernel would choose from, at the time of a connection. */
export function createRelays(deps: {
  readonly servingBackends: (port: ServicePort) => readonly ServiceBackend[];
  readonly log: Logger;
}): Relays {
  const relays = new Map<string, Relay>();
  const ports = new Map<string, number>();
  const clients = new Set<Socket>();
  let [accepted, refused, failed] = [0, 0, 0];

  /** For one client: chooses anew with each call, among those that serve by then. */
  const chooser = (relay: Relay, clientIp: string): (() => ServiceBackend | undefined) => {
    const tried: ServiceBackend[] = [];
    return () => {
      const { port } = relay;
      const left = untried(deps.servingBackends(port), tried);
      const [backend] = orderForClient(left, port.sessionAffinity ? clientIp : undefined);
      if (backend) tried.push(backend);
      return backend;
    };
  };
  const take = async (client: Socket, relay: Relay): Promise<void> => {
    if (clients.size >= MAX_CONNECTIONS) {
      refused += 1;
      client.resetAndDestroy();
      return;
    }
    const { remoteAddress: clientIp, remotePort: clientPort, localAddress: serverIp } = client;
    // It was gone before it was looked at.
    if (clientIp === undefined || clientPort === undefined || serverIp === undefined) return void client.destroy();
    accepted += 1;
    clients.add(client);
    client.once('close', () => clients.delete(client));
    const header = proxyHeader({ clientIp, clientPort, serverIp, serverPort: relay.port.publishedPort });
    if (!(await relayConnection(client, chooser(relay, clientIp), header))) failed += 1;
  };
  const listen = async (chain: string, port: ServicePort): Promise<void> => {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    const relay: Relay = { server, port };
    server.on('connection', (client) => void take(client, relay));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: '0.0.0.0', port: 0, backlog: BACKLOG }, resolve);
    });
    server.on('error', (err) =>
      deps.log.error({ port: port.publishedPort, err }, 'a relay failed to take a connection'),
    );
    const address = server.address();
    if (address === null || typeof address === 'string') throw new TypeError('a TCP listener has a port');
    relays.set(chain, relay);
    ports.set(chain, address.port);
  };
  const drop = (chain: string): void => {
    relays.get(chain)?.server.close();
    relays.delete(chain);
    ports.delete(chain);
  };

  return {
    ports,
    async sync(services) {
      const wanted = new Map(
        services.flatMap(({ id, ports: all }) =>
          all.filter(isRelayed).map((port) => [serviceChain(id, port), port] as const),
        ),
      );
      for (const chain of relays.keys()) if (!wanted.has(chain)) drop(chain);
      for (const [chain, port] of wanted) {
        const relay = relays.get(chain);
        if (relay) relay.port = port;
        else await listen(chain, port);
      }
    },
    counts: () => ({ open: clients.size, accepted, refused, failed }),
    close() {
      for (const chain of [...relays.keys()]) drop(chain);
      for (const client of clients) client.destroy();
    },
  };
}
