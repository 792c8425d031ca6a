// The agent's TLS listener: logs, exec, attach and port forwarding for the API server, by kubelet's paths, the use of
// resources at /usage, logs of builds, and archives that come in. Only the API server's own client certificate gets in,
// and, for blobs of images at /blobs, those of other nodes; everybody else talks to the API server, which knows who may
// do what.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { errnoOf, messageOf, reasonOf, WindlassError, type Reason } from '../../../lib/errors.ts';
import type { UsageReport } from '../../../crds/usage.ts';
import { parseHostPort, type HostPort } from '../../../lib/host-port.ts';
import { closeServer, listenOn } from '../../../lib/listen.ts';
import type { Logger } from '../../../lib/log.ts';
import { createFileSender } from '../../../lib/send-file.ts';
import { receiveArchive, type ReceiverDeps } from '../archives/receive-archive.ts';
import { createBlobServer, type BlobDeps, type BlobServer } from './blobs.ts';
import { serveBuildLog, type BuildLogDeps } from './build-logs.ts';
import { readCaller, type Caller } from './caller.ts';
import { serveLogs, type LogDeps } from './logs.ts';
import { serveStream, type StreamDeps, type StreamVerb } from './streams.ts';

const CODES: Readonly<Partial<Record<Reason, number>>> = {
  BadRequest: 400,
  Invalid: 400,
  Forbidden: 403,
  NotFound: 404,
  MethodNotAllowed: 405,
  Conflict: 409,
  TooManyRequests: 429,
  Unimplemented: 501,
  Unavailable: 503,
};

export interface AgentServerOptions extends LogDeps, BuildLogDeps, StreamDeps, Pick<BlobDeps, 'findBlob' | 'onSent'> {
  readonly tls: { readonly cert: string; readonly key: string; readonly ca: string };
  readonly usage: (signal: AbortSignal) => Promise<UsageReport>;
  readonly archives: ReceiverDeps;
  /** Resolves when the node that calls belongs to the cluster; throws Forbidden when it does not. */
  readonly admit: (caller: Extract<Caller, { kind: 'node' }>, signal: AbortSignal) => Promise<void>;
  readonly log: Logger;
}

export interface AgentAddress extends HostPort {
  /** Another port will do where this one is taken. */
  readonly orAnyPort?: boolean;
}

export interface AgentServer {
  /** Starts to listen; answers the port. */
  listen(address: AgentAddress): Promise<number>;
  /** What it shows to new callers. */
  setCertificate(pair: { readonly cert: string; readonly key: string }): void;
  run(signal: AbortSignal): Promise<void>;
}

/** `/containerLogs/{namespace}/{pod}/{container}` and the like; undefined for any other path. */
export function parseAgentPath(
  pathname: string,
): { verb: string; namespace: string; name: string; container: string } | undefined {
  const [verb, namespace, name, container, ...rest] = pathname.split('/').slice(1).map(decodeURIComponent);
  if (!verb || !namespace || !name || !container || rest.length > 0) return undefined;
  return { verb, namespace, name, container };
}

/** The listener as a value; nothing happens before listen(). */
export function createAgentServer(options: AgentServerOptions): AgentServer {
  const stopping = new AbortController();
  const blobs = createBlobServer({ ...options, sender: createFileSender() });
  const server = createServer(
    { cert: options.tls.cert, key: options.tls.key, ca: options.tls.ca, requestCert: true, rejectUnauthorized: true },
    (request, response) => {
      handle({ ...options, blobs }, request, response, stopping.signal).catch((error: unknown) =>
        answerError(response, error),
      );
    },
  );
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    upgrade(options, request, socket, head).catch((error: unknown) => refuse(socket, error));
  });
  server.on('tlsClientError', (error) => options.log.debug({ err: error }, 'TLS handshake failed'));
  return {
    async listen({ host, port, orAnyPort = false }) {
      const address = await listenOn(server, { host, port }).catch((error: unknown) => {
        if (!orAnyPort || errnoOf(error) !== 'EADDRINUSE') throw error;
        options.log.info({ host, port }, 'the port is taken: another one is used');
        return listenOn(server, { host, port: 0 });
      });
      return parseHostPort(address).port;
    },
    setCertificate: ({ cert, key }) => server.setSecureContext({ cert, key, ca: options.tls.ca }),
    async run(signal) {
      if (!signal.aborted) {
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      }
      stopping.abort();
      await closeServer(server);
    },
  };
}

/** What a node asks of another is blobs, and nothing else. */
function requireApiServer(caller: Caller): void {
  if (caller.kind === 'node') {
    throw new WindlassError('Forbidden', `node ${caller.name} may only read blobs here: ask the API server`);
  }
}

async function handle(
  options: AgentServerOptions & { readonly blobs: BlobServer },
  request: IncomingMessage,
  response: ServerResponse,
  stopping: AbortSignal,
): Promise<void> {
  const caller = readCaller(request);
  const url = new URL(request.url ?? '/', 'https://agent');
  const digest = /^\/blobs\/([^/]+)$/.exec(url.pathname)?.[1];
  if (digest !== undefined) {
    if (caller.kind === 'node') await options.admit(caller, stopping);
    return options.blobs.serve(caller, decodeURIComponent(digest), request, response);
  }
  requireApiServer(caller);
  if (url.pathname === '/healthz') {
    response.end('ok');
    return;
  }
  const path = parseAgentPath(url.pathname);
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const signal = AbortSignal.any([gone.signal, stopping]);
  if (url.pathname === '/usage' && request.method === 'GET') {
    const report = await options.usage(signal);
    response.setHeader('Content-Type', 'application/json').end(JSON.stringify(report));
    return;
  }
  if (path?.verb === 'containerLogs' && request.method === 'GET') {
    return serveLogs(options, path, url.searchParams, response, signal);
  }
  if (path?.verb === 'buildLogs' && request.method === 'GET') {
    return serveBuildLog(options, path, url.searchParams, response, signal);
  }
  if (url.pathname === '/archives' && request.method === 'POST') {
    const received = await receiveArchive(options.archives, request, signal);
    response.setHeader('Content-Type', 'application/json').end(JSON.stringify(received));
    return;
  }
  if (path && isStreamVerb(path.verb)) {
    throw new WindlassError('BadRequest', `${path.verb} needs an upgrade to WebSocket or SPDY/3.1`);
  }
  throw new WindlassError('NotFound', `the node agent has nothing at ${url.pathname}`);
}

async function upgrade(
  options: AgentServerOptions,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  socket.on('error', () => socket.destroy());
  requireApiServer(readCaller(request));
  const url = new URL(request.url ?? '/', 'https://agent');
  const path = parseAgentPath(url.pathname);
  if (path && isStreamVerb(path.verb)) {
    return serveStream(options, path.verb, path, url.searchParams, { request, socket, head });
  }
  throw new WindlassError('NotFound', `the node agent has nothing at ${url.pathname}`);
}

function isStreamVerb(verb: string): verb is StreamVerb {
  return verb === 'exec' || verb === 'attach' || verb === 'portForward';
}

const codeOf = (error: unknown): number => CODES[reasonOf(error) ?? 'Internal'] ?? 500;

function answerError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    // In the middle of a stream: a broken connection is the only way left to say so.
    response.destroy();
    return;
  }
  response.writeHead(codeOf(error), { 'Content-Type': 'text/plain' }).end(messageOf(error));
}

function refuse(socket: Duplex, error: unknown): void {
  const body = messageOf(error);
  socket.end(
    `HTTP/1.1 ${codeOf(error)} Error\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
