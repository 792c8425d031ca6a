// What one container may ask of the resolver, so that one that asks without end does not take it from the others (and the
// shim from its other work). Source addresses can be trusted: the `senders` table drops what is sent in another's name.

/** Questions a second in the long run, and at once. */
const QUESTIONS_PER_SECOND = 2000;
const BURST = 4000;
/** Questions of one client that wait for the host's resolvers. */
const MAX_WAITING = 50;
/** Connections of one client over TCP. */
const MAX_CONNECTIONS = 16;
/** Beyond this many clients those that are back at their full burst are forgotten. */
const MANY_CLIENTS = 4096;

export interface ClientLimits {
  /** Counts a question; false = it is one too many and gets no answer. */
  mayAsk(client: string): boolean;
  /** Runs `ask` unless too many of this client are running; undefined then. */
  waiting<T>(client: string, ask: () => Promise<T>): Promise<T | undefined>;
  /** Counts a connection until disconnect(); false = it is one too many and is not counted. */
  connect(client: string): boolean;
  disconnect(client: string): void;
}

interface Client {
  tokens: number;
  atMs: number;
  waiting: number;
  connections: number;
}

/** @param now monotonic milliseconds. */
export function createClientLimits(now: () => number): ClientLimits {
  const clients = new Map<string, Client>();
  const refill = (client: Client): void => {
    const atMs = now();
    client.tokens = Math.min(BURST, client.tokens + ((atMs - client.atMs) / 1000) * QUESTIONS_PER_SECOND);
    client.atMs = atMs;
  };
  const of = (ip: string): Client => {
    let client = clients.get(ip);
    if (!client) {
      if (clients.size >= MANY_CLIENTS) forgetIdle();
      client = { tokens: BURST, atMs: now(), waiting: 0, connections: 0 };
      clients.set(ip, client);
    }
    return client;
  };
  const forgetIdle = (): void => {
    for (const [ip, client] of clients) {
      refill(client);
      if (client.tokens >= BURST && client.waiting + client.connections === 0) clients.delete(ip);
    }
  };
  return {
    mayAsk(ip) {
      const client = of(ip);
      refill(client);
      if (client.tokens < 1) return false;
      client.tokens -= 1;
      return true;
    },
    async waiting(ip, ask) {
      const client = of(ip);
      if (client.waiting >= MAX_WAITING) return undefined;
      client.waiting += 1;
      try {
        return await ask();
      } finally {
        client.waiting -= 1;
      }
    },
    connect(ip) {
      const client = of(ip);
      if (client.connections >= MAX_CONNECTIONS) return false;
      client.connections += 1;
      return true;
    },
    disconnect(ip) {
      of(ip).connections -= 1;
    },
  };
}
