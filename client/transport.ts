// HTTP to the API server: one pool of kept-alive connections, metrics, and failures as WindlassErrors.
// HTTP/1.1 on purpose: a watch then has a connection of its own, and a reset ends one watch instead of all of them.
import { setTimeout as sleep } from 'node:timers/promises';
import { createSecureContext } from 'node:tls';
import { Agent, buildConnector, request, type Dispatcher } from 'undici';
import { errnoOf, isAbort, messageOf, WindlassError } from '../lib/errors.ts';
import { Counter, Histogram, type Registry } from '../lib/metrics.ts';
import type { Connection } from './kubeconfig.ts';
import { paceConnector, type Pace } from './paced-connector.ts';
import { statusError } from './status-error.ts';

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path with query. */
  readonly path: string;
  readonly body?: unknown;
  readonly contentType?: string;
  /** Ends the answer when it is silent for so long; 60 s unless said. */
  readonly idleTimeoutMs?: number;
}

export interface Answer {
  readonly code: number;
  readonly body: Dispatcher.ResponseData['body'];
}

export interface Transport {
  /** The answer, whatever its code; its body must be read or destroyed. Throws Unavailable when there is none. */
  send(call: Call, signal: AbortSignal | undefined): Promise<Answer>;
  /** The parsed JSON of a 2xx answer; throws the server's reason otherwise. */
  json(call: Call, signal: AbortSignal | undefined): Promise<unknown>;
  /** The one that is asked next. */
  readonly server: string;
  /** Further servers, in place of those of the connection. */
  setServers(others: readonly string[]): void;
  /** What new connections show from now on. */
  setCredentials(pair: { readonly cert: string; readonly key: string }): void;
  close(): Promise<void>;
}

export interface TransportOptions {
  /** Name of the process in User-Agent and as field manager, e.g. `windlass-controllers`. */
  readonly userAgent: string;
  readonly registry?: Registry | undefined;
  /** For requests other than watches and leases; 8 unless said. */
  readonly maxConnections?: number | undefined;
}

/**
 * Connections for requests unless said: more of them at the same time wait here, where they cost least. A hundred nodes
 * with a connection for each request would be thousands of handshakes for the server, at the moment it has most to do.
 */
const MAX_CONNECTIONS = 8;
const MAX_LEASE_CONNECTIONS = 2;
const PACE: Pace = { limit: 2, patienceMs: 1_000 };
/**
 * A connection that is silent for so long is looked after by the kernel: its peer is gone when it answers no probe for 10 s
 * more, or answers that it knows of no such connection. A server that is only slow answers.
 */
const KEEP_ALIVE_MS = 10_000;
const HEADERS_TIMEOUT_MS = 65_000;
const IDLE_TIMEOUT_MS = 60_000;
/** A server that has too much to do says when to come back; nobody waits longer than this. */
const MAX_RETRY_AFTER_MS = 10_000;
const MAX_TRIES = 4;

/** A transport to `connection`; nothing is connected before the first call. */
export function createTransport(connection: Connection, options: TransportOptions): Transport {
  const connectorFor = ({ cert, key }: { cert?: string; key?: string }): buildConnector.connector =>
    buildConnector({
      timeout: 10_000,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      allowH2: false,
      // Parsed once, not for every connection.
      secureContext: createSecureContext({
        ...(connection.ca === undefined ? {} : { ca: connection.ca }),
        ...(cert === undefined ? {} : { cert }),
        ...(key === undefined ? {} : { key }),
      }),
      ...(connection.serverName === undefined ? {} : { servername: connection.serverName }),
      rejectUnauthorized: connection.skipTlsVerify !== true,
    });
  let connector = connectorFor(connection);
  const connect: buildConnector.connector = (target, callback) => connector(target, callback);
  const createAgent = (connections: number | null, connectBy = connect): Agent =>
    new Agent({
      connect: connectBy,
      allowH2: false,
      keepAliveTimeout: 30_000,
      headersTimeout: HEADERS_TIMEOUT_MS,
      connections,
    });
  const agents = {
    requests: createAgent(options.maxConnections ?? MAX_CONNECTIONS, paceConnector(connect, PACE)),
    streams: createAgent(null, paceConnector(connect, PACE)),
    leases: createAgent(MAX_LEASE_CONNECTIONS),
  };
  const allWith = (others: readonly string[]): string[] => [...new Set([connection.server, ...others])];
  let servers = allWith(connection.otherServers ?? []);
  let server = connection.server;
  // Whoever asks next asks another one; those that found the same server away have it changed once.
  const turnFrom = (failed: string): void => {
    if (server === failed) server = servers[(servers.indexOf(failed) + 1) % servers.length] ?? failed;
  };
  const metrics = options.registry ? createRestMetrics(options.registry) : undefined;

  const attempt = async (call: Call, signal: AbortSignal | undefined): Promise<Dispatcher.ResponseData> => {
    signal?.throwIfAborted();
    const startedAt = performance.now();
    let code = '<error>';
    const asked = server;
    try {
      const response = await request(`${asked}${call.path}`, {
        dispatcher: agents[laneOf(call)],
        method: call.method,
        headers: {
          accept: 'application/json',
          'user-agent': options.userAgent,
          ...(connection.token === undefined ? {} : { authorization: `Bearer ${connection.token}` }),
          ...(call.body === undefined ? {} : { 'content-type': call.contentType ?? 'application/json' }),
        },
        body: call.body === undefined ? null : JSON.stringify(call.body),
        // A DELETE has a body here, after which the connection would be closed for the sake of servers that do not expect one.
        reset: false,
        bodyTimeout: call.idleTimeoutMs ?? IDLE_TIMEOUT_MS,
        ...(signal ? { signal } : {}),
      });
      code = String(response.statusCode);
      // It lives, but has lost its store: another one may have it.
      if (isAway(response.statusCode)) turnFrom(asked);
      return response;
    } catch (error) {
      // A caller that has waited too long has found it away, one that stops has found nothing.
      if (signal?.aborted ? isTimeout(signal.reason) : !isAbort(error)) turnFrom(asked);
      throw transportError(error, `${call.method} ${call.path}`, asked, signal);
    } finally {
      metrics?.observe(call.method, new URL(asked).host, code, (performance.now() - startedAt) / 1000);
    }
  };

  const transport: Transport = {
    async send(call, signal) {
      for (let tries = 1; ; tries += 1) {
        let response: Dispatcher.ResponseData;
        try {
          response = await attempt(call, signal);
        } catch (error) {
          // The server may close an idle connection in the moment it is used again; asking twice is harmless for a GET.
          if (call.method === 'GET' && tries === 1 && isStaleConnection(error)) continue;
          // Nobody has heard the call, so that it may be made once of each server.
          if (tries < servers.length && isUnconnected(error)) continue;
          throw error;
        }
        if (call.method === 'GET' && tries < servers.length && isAway(response.statusCode)) {
          await response.body.dump();
          continue;
        }
        const retryAfter = Number(response.headers['retry-after']);
        if (response.statusCode !== 429 || !(retryAfter > 0) || tries >= MAX_TRIES) {
          return { code: response.statusCode, body: response.body };
        }
        await response.body.dump();
        await sleep(Math.min(retryAfter * 1000, MAX_RETRY_AFTER_MS), undefined, signal ? { signal } : {});
      }
    },
    async json(call, signal) {
      const { code, body } = await transport.send(call, signal);
      const what = `${call.method} ${call.path}`;
      let text: string;
      try {
        text = await body.text();
      } catch (error) {
        throw transportError(error, what, server, signal);
      }
      const parsed = parseJson(text);
      if (code < 200 || code > 299) throw statusError(code, parsed ?? text, what);
      if (parsed === undefined)
        throw new WindlassError('Unavailable', `${what} was answered with something that is not JSON`);
      return parsed;
    },
    get server() {
      return server;
    },
    setServers(others) {
      servers = allWith(others);
      if (!servers.includes(server)) server = connection.server;
    },
    setCredentials: (pair) => void (connector = connectorFor(pair)),
    async close() {
      await Promise.all(Object.values(agents).map((agent) => agent.destroy()));
    },
  };
  return transport;
}

/** A watch keeps its connection, and the renewal of a lease must not wait for other requests of this process. */
function laneOf({ path, idleTimeoutMs }: Call): 'requests' | 'streams' | 'leases' {
  if (idleTimeoutMs !== undefined) return 'streams';
  return path.startsWith('/apis/coordination.k8s.io/') ? 'leases' : 'requests';
}

/** What a failed exchange means to the caller: its own abort, or a server that cannot be reached. */
export function transportError(error: unknown, what: string, server: string, signal: AbortSignal | undefined): Error {
  if (signal?.aborted || isAbort(error)) {
    return new DOMException(`${what} was aborted: ${messageOf(signal?.reason ?? error)}`, 'AbortError');
  }
  const detail = messageOf(error) || (errnoOf(error) ?? 'connection failed');
  return new WindlassError('Unavailable', `API server ${server} cannot be reached: ${detail}`, { cause: error });
}

const isAway = (code: number): boolean => code === 503 || code === 504;

const isTimeout = (reason: unknown): boolean => reason instanceof Error && reason.name === 'TimeoutError';

function isStaleConnection(error: unknown): boolean {
  const cause = (error as Error).cause as { code?: unknown } | undefined;
  return cause?.code === 'ECONNRESET' || cause?.code === 'EPIPE' || cause?.code === 'UND_ERR_SOCKET';
}

const UNCONNECTED: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
]);

const isUnconnected = (error: unknown): boolean =>
  UNCONNECTED.has(((error as Error).cause as { code?: unknown } | undefined)?.code);

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function createRestMetrics(registry: Registry): {
  observe(method: string, host: string, code: string, seconds: number): void;
} {
  // Two clients of one process share the series.
  const requests =
    (registry.getSingleMetric('rest_client_requests_total') as Counter<'code' | 'method' | 'host'> | undefined) ??
    new Counter({
      name: 'rest_client_requests_total',
      help: 'Requests to the API server, by code, method and host',
      labelNames: ['code', 'method', 'host'] as const,
      registers: [registry],
    });
  const durations =
    (registry.getSingleMetric('rest_client_request_duration_seconds') as Histogram<'verb' | 'host'> | undefined) ??
    new Histogram({
      name: 'rest_client_request_duration_seconds',
      help: 'Time until the API server answered, by verb and host',
      labelNames: ['verb', 'host'] as const,
      buckets: [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60],
      registers: [registry],
    });
  return {
    observe(method, host, code, seconds) {
      requests.inc({ code, method, host });
      durations.observe({ verb: method, host }, seconds);
    },
  };
}
