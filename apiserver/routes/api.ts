// The one route of all resources: the registry changes while the server runs, so paths are resolved per request.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../../lib/clock.ts';
import { isAbort, WindlassError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { Authenticator } from '../auth/authenticate.ts';
import type { Authorize } from '../auth/authorizer.ts';
import { actAs } from '../auth/impersonate.ts';
import type { User } from '../auth/user.ts';
import { classify } from '../flowcontrol/classify.ts';
import type { FlowControl } from '../flowcontrol/flow-control.ts';
import { badRequest, pathNotFound } from './api-errors.ts';
import { jsonAnswer, type Answer } from './call.ts';
import { attributesOf, type Dispatcher } from './dispatch.ts';
import { isLongRunning, type RequestLabels, type RequestMetrics } from './metrics.ts';
import { mediaTypeOf, REQUEST_TIMEOUT_MS, timeoutOf } from './request-options.ts';
import { parseResourcePath, type ResourcePath } from './resource-path.ts';
import { cut, sendAnswer, type RawResponse } from './respond.ts';
import { toStatus } from './status.ts';
import { refuseUpgrade } from './upgrade.ts';

export interface ApiRouteOptions {
  readonly authenticator: Authenticator;
  readonly authorize: Authorize;
  readonly dispatcher: Dispatcher;
  readonly metrics: RequestMetrics;
  readonly flowControl: FlowControl;
  readonly log: Logger;
  readonly clock: Clock;
  /** Fires when the server stops: open watches end. */
  readonly stopping: AbortSignal;
  readonly patience?: Patience | undefined;
}

/** How long a client may take. */
export interface Patience {
  /** To send the body of a request. */
  readonly bodyMs?: number;
  /** To read something of a watch before it is cut. */
  readonly stallMs?: number;
}

const BODILESS: ReadonlySet<string> = new Set(['GET', 'HEAD']);

/** Marks the routes that need no certificate. */
export const PUBLIC_ROUTE = { isPublic: true } as const;

/** Registers the catch-all route and the one error handler. */
export function registerApiRoutes(app: FastifyInstance, options: ApiRouteOptions): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  // Before the body is read: strangers must not fill the memory of this server with bodies.
  app.addHook('onRequest', (request, _reply, done) => {
    const admit = (user: User): void => {
      try {
        users.set(request, impersonated(options, user, request.raw));
      } catch (error) {
        return done(error as Error);
      }
      done();
    };
    // Over HTTP/2 a body may come without its length; one that has no type either would not be read at all.
    if (!BODILESS.has(request.method)) request.raw.headers['content-type'] ??= 'application/json';
    const { isPublic } = request.routeOptions.config as Partial<typeof PUBLIC_ROUTE>;
    if (isPublic) return done();
    try {
      const user = options.authenticator.authenticate(socketOf(request), request.headers.authorization);
      // Most are known by their certificate alone, and need not wait.
      if (user instanceof Promise) user.then(admit, done);
      else admit(user);
    } catch (error) {
      done(error as Error);
    }
  });
  app.addHook('preParsing', (request, reply, payload, done) => {
    done(null, payload);
    // Nobody reads what a GET carries, so its end is never seen; an upload takes the time that it takes.
    const { isUpload } = request.routeOptions.config as { isUpload?: boolean };
    if (BODILESS.has(request.method) || isUpload) return;
    // Node's own limit is for HTTP/1.1 alone: over HTTP/2 a body could come as slowly as the client likes.
    const late = (): void => cut(reply.raw as unknown as RawResponse);
    const timer = setTimeout(late, options.patience?.bodyMs ?? REQUEST_TIMEOUT_MS);
    const clear = (): void => clearTimeout(timer);
    for (const event of ['end', 'close', 'error']) payload.once(event, clear);
    for (const event of ['finish', 'close']) reply.raw.once(event, clear);
  });
  app.setErrorHandler((error, request, reply) => answerError(options, error, request, reply));
  app.setNotFoundHandler(async (request, reply) => {
    await send(options, request, reply, jsonAnswer(404, toStatus(pathNotFound())));
  });
  app.route({
    method: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    url: '/api/v1/*',
    handler: (request, reply) => handle(options, request, reply),
  });
  app.route({
    method: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    url: '/apis/*',
    handler: (request, reply) => handle(options, request, reply),
  });
}

/** One for all: every request ends with it, and the stack of a new one costs more than the rest of its end. */
export const GONE = new DOMException('the connection of the request is closed', 'AbortError');

/** Who the request is answered for. Both are logged: what is done is in the name of the one, but the other did it. */
function impersonated({ log, authorize }: ApiRouteOptions, user: User, message: IncomingMessage): User {
  const other = actAs(user, message.rawHeaders, authorize);
  if (other !== user) {
    const path = message.url?.split('?')[0];
    log.info({ user: user.name, as: other.name, groups: other.groups, method: message.method, path }, 'impersonating');
  }
  return other;
}

const users = new WeakMap<FastifyRequest, User>();

/** The user of a request, as the first hook found it; Unauthorized when it has none. */
export function requireUser(request: FastifyRequest): User {
  const user = users.get(request);
  if (!user) throw new WindlassError('Unauthorized', 'Unauthorized');
  return user;
}

// The socket of an HTTP/2 stream is a proxy that differs per stream; the session's own is the one to know a user by.
function socketOf(request: FastifyRequest): TLSSocket {
  const raw = request.raw as unknown as { stream?: { session?: { socket: TLSSocket } }; socket: TLSSocket };
  return raw.stream?.session?.socket ?? raw.socket;
}

async function handle(options: ApiRouteOptions, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const user = requireUser(request);
  const url = urlOf(request.url);
  const path = parseResourcePath(url.pathname);
  if (!path) throw pathNotFound();
  const query = url.searchParams;
  const verb = options.dispatcher.verbOf({ method: request.method, path, query });
  const labels = labelsOf(options.dispatcher.isServed(path) ? path : NOWHERE, verb, query);
  const finish = options.metrics.start(labels);
  const gone = new AbortController();
  // Not that of the request, which ends with its body.
  reply.raw.once('close', () => gone.abort(GONE));
  const warnings: string[] = [];
  const signal = AbortSignal.any([gone.signal, options.stopping]);
  let answer: Answer;
  let leave = (): void => undefined;
  try {
    // One object at most, however many there are.
    const isNamed = /(^|,)metadata\.name=/.test(query.get('fieldSelector') ?? '');
    leave = await options.flowControl.admit(classify(user, attributesOf(path, verb), { isNamed }), signal);
    const limitMs = isLongRunning(labels) ? undefined : timeoutOf(query);
    const answering = options.dispatcher.dispatch(
      {
        method: request.method,
        path,
        user,
        query,
        accept: String(request.headers.accept ?? ''),
        contentType: mediaTypeOf(request.headers['content-type']),
        headers: request.headers,
        body: Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0),
        signal,
      },
      warnings,
    );
    answer = limitMs === undefined ? await answering : await withinTime(answering, limitMs);
  } catch (error) {
    answer = statusAnswer(options, error, request);
  }
  // A stream is no work that others should wait for: its beginning was.
  if (isLongRunning(labels)) leave();
  try {
    await send(options, request, reply, answer, warnings, gone.signal);
  } finally {
    leave();
    finish(answer.status);
  }
}

/** A target such as `//` is no URL, and one such as `//host/api` must not lose its first part to a host. */
export function urlOf(target = '/'): URL {
  try {
    return new URL(`https://host${target}`);
  } catch (error) {
    throw badRequest(`invalid request target: ${JSON.stringify(target)}`, error);
  }
}

async function withinTime<T>(work: Promise<T>, limitMs: number): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(new WindlassError('Timeout', 'Timeout: request did not complete within requested timeout'));
  }, limitMs);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** What nobody serves is counted as one: a client that makes up names must not make up series. */
const NOWHERE: ResourcePath = { group: '', version: '', plural: '', namespace: '', name: '', subresource: '' };

function labelsOf(path: ResourcePath, verb: string, query: URLSearchParams): RequestLabels {
  const { group, version, plural: resource, subresource, namespace, name } = path;
  const scope = name !== '' ? 'resource' : namespace !== '' ? 'namespace' : 'cluster';
  const upper = verb === 'create' ? 'POST' : verb === 'update' ? 'PUT' : verb.toUpperCase();
  return {
    verb: upper,
    dry_run: query.get('dryRun') === 'All' ? 'All' : '',
    group,
    version,
    resource,
    subresource,
    scope,
  };
}

/** Answers and hands the raw response over: fastify's own reply would buffer what streams. */
export async function send(
  options: Pick<ApiRouteOptions, 'log' | 'patience'>,
  request: FastifyRequest,
  reply: FastifyReply,
  answer: Answer,
  warnings: readonly string[] = [],
  signal: AbortSignal = new AbortController().signal,
): Promise<void> {
  reply.hijack();
  const acceptEncoding = String(request.headers['accept-encoding'] ?? '');
  try {
    await sendAnswer(reply.raw as unknown as RawResponse, answer, {
      warnings,
      acceptEncoding,
      signal,
      ...(options.patience?.stallMs === undefined ? {} : { stallMs: options.patience.stallMs }),
    });
  } catch (error) {
    // The status line is out already: all that is left is to cut the stream.
    if (!isAbort(error)) options.log.warn({ err: error, url: request.url }, 'failed in the middle of an answer');
    cut(reply.raw as unknown as RawResponse);
  }
}

async function answerError(
  options: ApiRouteOptions,
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  await send(options, request, reply, statusAnswer(options, error, request));
}

export function statusAnswer(options: Pick<ApiRouteOptions, 'log'>, error: unknown, request: FastifyRequest): Answer {
  const status = toStatus(error);
  if (status.code === 500)
    options.log.error({ err: error, method: request.method, url: request.url }, 'request failed');
  const headers = status.details?.['retryAfterSeconds'] ? { 'Retry-After': '1' } : {};
  return { ...jsonAnswer(status.code, status), headers };
}

/** Handles an HTTP/1.1 upgrade: authenticated, authorised, then given to the subresource that was asked for. */
export async function handleUpgrade(
  options: ApiRouteOptions,
  message: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const gone = new AbortController();
  socket.once('close', () => gone.abort());
  socket.on('error', () => gone.abort());
  try {
    const { authenticator } = options;
    const caller = await authenticator.authenticate(message.socket as TLSSocket, message.headers.authorization);
    const user = impersonated(options, caller, message);
    const url = urlOf(message.url);
    const path = parseResourcePath(url.pathname);
    const handler = path && options.dispatcher.findSubresource(path);
    if (!path || !handler?.upgrade) throw pathNotFound();
    // Upstream asks for the right to create, whichever method opens the stream.
    const verb = handler.verbs.includes('create') ? 'create' : 'get';
    options.dispatcher.checkAllowed(user, path, verb);
    const { resource } = attributesOf(path, verb);
    options.log.debug({ resource, namespace: path.namespace, name: path.name }, 'upgrading a connection');
    const { namespace, name } = path;
    const signal = AbortSignal.any([gone.signal, options.stopping]);
    const request = { user, method: message.method ?? 'GET', namespace, name, query: url.searchParams, signal };
    await handler.upgrade({ ...request, headers: message.headers, body: Buffer.alloc(0) }, message, socket, head);
  } catch (error) {
    refuseUpgrade(socket, toStatus(error));
  }
}
