// The HTTP side of the registry. HTTP/1.1 only, with TLS or without: it is what every client speaks, and bytes go from
// file to socket with the least between them.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { isAbort, messageOf } from '../lib/errors.ts';
import { formatHostPort, type HostPort } from '../lib/host-port.ts';
import { closeServer, listenOn } from '../lib/listen.ts';
import type { Logger } from '../lib/log.ts';
import { mayShowMore, type Access } from './access/access.ts';
import { refuse, toOciAnswer } from './oci-errors.ts';
import type { RegistryMetrics } from './registry-metrics.ts';
import { JSON_TYPE, type Answer, type Call, type RouteDeps } from './routes/call.ts';
import { actionsFor, answer, findOperation, methodsOf } from './routes/dispatch.ts';
import { parsePath, type Route } from './routes/parse-path.ts';
import { createFileSender, type FileSender } from '../lib/send-file.ts';

export interface ServerOptions {
  readonly listen: HostPort;
  /** PEM; absent = plain HTTP. `clientCa` lets clients show certificates of that authority. */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer; readonly clientCa?: Buffer | undefined } | undefined;
  readonly access: Access;
  readonly deps: RouteDeps;
  readonly metrics: RegistryMetrics;
  readonly log: Logger;
  /** A connection on which nothing moves for this long is closed. */
  readonly idleMs?: number;
  /** Answers /token, where there are tokens. */
  readonly answerToken?: ((request: IncomingMessage, query: URLSearchParams) => Promise<Answer>) | undefined;
}

export interface RegistryServer extends AsyncDisposable {
  /** `host:port` that really listens. */
  readonly address: string;
}

const IDLE_MS = 60_000;
/** What is still read of a request that was refused, for the client to hear why. */
const DRAIN_MS = 2_000;

/** Listens; the server answers when this resolves. */
export async function startRegistryServer(options: ServerOptions): Promise<RegistryServer> {
  const { tls, listen, idleMs = IDLE_MS } = options;
  const files = createFileSender();
  const open = new WeakMap<Socket, ServerResponse>();
  const take = (request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void => {
    open.set(request.socket, response);
    serve({ ...options, files, expectsContinue }, request, response).catch((err: unknown) => {
      options.log.error({ err }, 'request failed');
      response.destroy();
    });
  };
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => take(request, response, false);
  const server = tls
    ? createTlsServer(
        {
          cert: tls.cert,
          key: tls.key,
          ...(tls.clientCa ? { ca: tls.clientCa, requestCert: true } : {}),
          rejectUnauthorized: false,
          minVersion: 'TLSv1.2',
        },
        onRequest,
      )
    : createServer(onRequest);
  // An upload takes as long as it takes; only one that stands still is ended.
  Object.assign(server, { requestTimeout: 0, headersTimeout: 20_000, keepAliveTimeout: 72_000, maxConnections: 4096 });
  // Who waits to be told to send its body is told so when somebody reads it, and not when it is refused.
  server.on('checkContinue', (request, response) => take(request, response, true));
  server.setTimeout(idleMs, (socket) => {
    const response = open.get(socket);
    // The client has said all it had to say, and waits for us.
    if (response?.req.complete && !response.headersSent) socket.setTimeout(idleMs);
    else socket.destroy();
  });
  return {
    address: await listenOn(server, listen),
    [Symbol.asyncDispose]: () => closeServer(server, { graceMs: DRAIN_MS }),
  };
}

interface Serving extends ServerOptions {
  readonly files: FileSender;
  readonly expectsContinue: boolean;
}

async function serve(options: Serving, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { metrics, log, files } = options;
  const begin = performance.now();
  const left = new AbortController();
  response.once('close', () => left.abort());
  let route: Route | undefined;
  try {
    // The path as it was sent: URL would resolve dots away.
    const [path = '/', search = ''] = (request.url ?? '/').split('?', 2);
    const query = new URLSearchParams(search);
    route = parsePath(path);
    if (!route && path === '/token' && options.answerToken) {
      await send({ files, response, request }, await options.answerToken(request, query));
      return;
    }
    if (!route) throw refuse('UNSUPPORTED', `${path} is not a path of a registry`, { status: 404 });
    await send(
      { files, response, request },
      await handle(options, route, { request, response, query, signal: left.signal }),
    );
  } catch (error) {
    if (left.signal.aborted || response.headersSent) {
      // Whoever asked has left, or the bytes stopped in the middle: there is nobody to be told.
      if (!isAbort(error) && !left.signal.aborted) log.warn({ err: error, path: request.url }, 'answer broke off');
      response.destroy();
      return;
    }
    const { status, body } = toOciAnswer(error);
    if (status >= 500) log.error({ err: error, method: request.method, path: request.url }, 'request failed');
    else log.debug({ method: request.method, path: request.url, status, problem: messageOf(error) }, 'refused');
    await send(
      { files, response, request },
      {
        status,
        headers: { ...JSON_TYPE, ...refusalHeaders(options, route, request, status) },
        body: JSON.stringify(body),
      },
    );
  } finally {
    metrics.observe(
      route?.kind ?? 'other',
      request.method ?? '',
      response.statusCode,
      (performance.now() - begin) / 1000,
    );
  }
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
  readonly signal: AbortSignal;
}

async function handle(
  { access, deps, metrics, expectsContinue }: Serving,
  route: Route,
  { request, response, query, signal }: Exchange,
): Promise<Answer> {
  const operation = findOperation(route, request.method ?? '');
  const caller = await access.identify(request.headers, request.socket);
  const repository = 'repository' in route ? route.repository : undefined;
  const isAllowed =
    operation.action === undefined ? await mayAsk(route, caller) : await caller.may(operation.action, repository ?? '');
  if (!isAllowed) {
    // The same whether it is there or not.
    const what = `${operation.action ?? 'list'} ${repository ?? 'repositories'}`;
    if (caller.isAnonymous) throw refuse('UNAUTHORIZED', 'authentication required');
    if (mayShowMore(caller)) throw refuse('UNAUTHORIZED', `${caller.name} may not ${what} with this token`);
    throw refuse('DENIED', `${caller.name} may not ${what}`);
  }
  const body = metrics.countReceived(request, () => {
    if (expectsContinue) response.writeContinue();
  });
  const call: Call = { method: request.method ?? '', query, headers: request.headers, body, caller, signal };
  return answer(operation, deps, call);
}

/**
 * A ping is for whoever has said who it is: docker logs in by it, and learns from its refusal how. So do those who list the
 * catalog and may see nothing.
 */
async function mayAsk(route: Route, caller: Call['caller']): Promise<boolean> {
  if (!caller.isAnonymous) return true;
  return route.kind === 'catalog' ? caller.may('pull', 'any') : caller.may('push', 'any');
}

function refusalHeaders(
  { access, tls, listen }: ServerOptions,
  route: Route | undefined,
  { method, headers }: IncomingMessage,
  status: number,
): Record<string, string> {
  if (status === 429) return { 'retry-after': '5' };
  if (status === 405 && route) return { allow: methodsOf(route) };
  if (status !== 401 || !route) return {};
  const { action } = findOperation(route, method ?? '');
  const repository = 'repository' in route ? route.repository : undefined;
  // As the client called it; what is no host would end up in a header.
  const host = /^[\w.:[\]-]{1,255}$/.test(headers.host ?? '') ? headers.host : formatHostPort(listen);
  const origin = `${tls ? 'https' : 'http'}://${host}`;
  return { 'www-authenticate': access.challenge(repository, actionsFor(action), origin) };
}

async function send(
  { files, response, request }: { files: FileSender; response: ServerResponse; request: IncomingMessage },
  { status, headers, body }: Answer,
): Promise<void> {
  response.statusCode = status;
  response.setHeader('docker-distribution-api-version', 'registry/2.0');
  response.setHeader('x-content-type-options', 'nosniff');
  for (const [name, value] of Object.entries(headers ?? {})) response.setHeader(name, value);
  if (!request.complete) {
    await refuseBody(request, response, typeof body === 'string' ? body : '');
  } else if (body === undefined) {
    response.end();
  } else if (typeof body === 'string' || Buffer.isBuffer(body)) {
    if (!response.hasHeader('content-length')) response.setHeader('content-length', Buffer.byteLength(body));
    response.end(request.method === 'HEAD' ? undefined : body);
  } else if ('path' in body) {
    await files.send(response, body);
  } else {
    await pipeline(body, response);
  }
}

/**
 * Answers before the body has been read to its end. What the client still sends is thrown away for a moment, so that it
 * hears the answer instead of a reset; then the connection, which cannot carry another request, is closed.
 */
async function refuseBody(request: IncomingMessage, response: ServerResponse, text: string): Promise<void> {
  response.setHeader('connection', 'close');
  response.setHeader('content-length', Buffer.byteLength(text));
  response.flushHeaders();
  if (text !== '') response.write(text);
  request.resume();
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, request.destroyed ? 0 : DRAIN_MS);
  for (const event of ['end', 'close', 'error']) request.once(event, resolve);
  await promise;
  clearTimeout(timer);
  response.end();
}
