// A gRPC server over node:http2 and a unix socket, for unary calls and streams of answers. What it leaves out of the
// protocol (compression, streams of requests, metadata) nobody asks of a CRI runtime; what it saves is half the processor
// time that a call costs with the general library.
import { once } from 'node:events';
import {
  constants,
  createServer,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import { CODES, GrpcError, type GrpcFailure } from './codes.ts';
import { createFrameReader, encodeFrame } from './framing.ts';
import { CONTENT_TYPE, decodeTimeout, failureTrailers, MAX_HEADER_LIST_BYTES, OK_TRAILERS } from './headers.ts';
import type { GrpcMethod } from './method.ts';

export interface GrpcCall {
  readonly request: object;
  readonly timeoutMs: number | undefined;
  /** Fires when the caller cancels or leaves before it has its answer. */
  onCancelled(listener: () => void): void;
  /** True once the call has been ended, by whomever. */
  isOver(): boolean;
  /** One of the answers; resolves when there is room for the next. */
  write(message: object): Promise<void>;
  /** Ends the call, with the only answer of a unary one. What comes after the first end is dropped. */
  end(message?: object): void;
  fail(failure: GrpcFailure): void;
}

export interface GrpcRoute {
  readonly method: GrpcMethod;
  readonly handle: (call: GrpcCall) => void;
}

export interface GrpcServer {
  listen(socketPath: string): Promise<void>;
  /** Takes no more calls; resolves when those under way have ended, all of them cut off after `graceMs`. */
  close(graceMs: number): Promise<void>;
}

const RESPONSE_HEADERS = { ':status': 200, 'content-type': CONTENT_TYPE, 'grpc-accept-encoding': 'identity' } as const;

/** A server of these methods, not yet listening. */
export function createGrpcServer(routes: readonly GrpcRoute[], maxMessageBytes: number): GrpcServer {
  const byPath = new Map(routes.map((route) => [route.method.path, route]));
  const sessions = new Set<Http2Session>();
  // The library's own bound on what a connection may hold ends it in the middle of a large list.
  const server = createServer({
    maxSessionMemory: Number.MAX_SAFE_INTEGER,
    settings: { enablePush: false, maxHeaderListSize: MAX_HEADER_LIST_BYTES },
  });
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
    // Told by each of its streams.
    session.on('error', () => undefined);
  });
  server.on('stream', (stream, headers) => {
    // The caller left: its handler is told by `close`.
    stream.on('error', () => undefined);
    const problem = refuse(headers);
    if (problem !== undefined) {
      stream.respond({ ':status': problem }, { endStream: true });
      return;
    }
    const path = headers[':path'] ?? '';
    const route = byPath.get(path);
    if (route) serve(stream, headers, route, maxMessageBytes);
    else failOnly(stream, { code: CODES.UNIMPLEMENTED, message: `the server does not implement ${path}` });
  });
  return {
    async listen(socketPath) {
      server.listen(socketPath);
      await once(server, 'listening');
    },
    async close(graceMs) {
      const timer = setTimeout(() => {
        for (const session of sessions) session.destroy();
      }, graceMs);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const session of sessions) session.close();
      await closed;
      clearTimeout(timer);
    },
  };
}

/** The HTTP status for what is no gRPC at all. */
function refuse(headers: IncomingHttpHeaders): number | undefined {
  if (headers[':method'] !== 'POST') return constants.HTTP_STATUS_METHOD_NOT_ALLOWED;
  const isGrpc = headers['content-type']?.startsWith(CONTENT_TYPE) === true;
  return isGrpc ? undefined : constants.HTTP_STATUS_UNSUPPORTED_MEDIA_TYPE;
}

function failOnly(stream: ServerHttp2Stream, failure: GrpcFailure): void {
  if (!stream.closed && !stream.destroyed) {
    stream.respond({ ...RESPONSE_HEADERS, ...failureTrailers(failure) }, { endStream: true });
  }
}

const tooMany: GrpcFailure = { code: CODES.INTERNAL, message: 'a call takes one message: more came' };

function serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, route: GrpcRoute, maxBytes: number): void {
  const reader = createFrameReader(maxBytes, CODES.UNIMPLEMENTED);
  const messages: Buffer[] = [];
  let hasFailed = false;
  const fail = (failure: GrpcFailure): void => {
    hasFailed = true;
    failOnly(stream, failure);
    stream.close(constants.NGHTTP2_NO_ERROR);
  };
  stream.on('data', (chunk: Buffer) => {
    if (hasFailed) return;
    try {
      messages.push(...reader.push(chunk));
      // Not kept until the caller ends: it may never do so.
      if (messages.length > 1) fail(tooMany);
    } catch (error) {
      if (!(error instanceof GrpcError)) throw error;
      fail(error);
    }
  });
  stream.once('end', () => {
    if (hasFailed) return;
    const [message] = messages;
    if (message === undefined || reader.isWithinFrame()) {
      fail({ code: CODES.INTERNAL, message: 'a call takes one whole message: none came' });
      return;
    }
    let request: object;
    try {
      request = route.method.requestDeserialize(message);
    } catch {
      fail({ code: CODES.INTERNAL, message: 'the message is not one of the method' });
      return;
    }
    route.handle(openCall(stream, route.method, request, decodeTimeout(headers['grpc-timeout'])));
  });
}

/** Whoever waits for a reader that has left waits no longer. No listener stays: a stream may have many slow moments. */
function hasRoom(stream: ServerHttp2Stream): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off('drain', done).off('close', done);
      resolve();
    };
    stream.on('drain', done).on('close', done);
  });
}

function openCall(
  stream: ServerHttp2Stream,
  method: GrpcMethod,
  request: object,
  timeoutMs: number | undefined,
): GrpcCall {
  let hasEnded = false;
  const begin = (): void => {
    if (!stream.headersSent) stream.respond(RESPONSE_HEADERS, { waitForTrailers: true });
  };
  const isGone = (): boolean => stream.destroyed || stream.closed;
  return {
    request,
    timeoutMs,
    onCancelled(listener) {
      stream.once('close', () => {
        if (!hasEnded) listener();
      });
    },
    isOver: () => hasEnded || isGone(),
    async write(message) {
      if (hasEnded || isGone()) return;
      begin();
      if (!stream.write(encodeFrame(method.responseSerialize(message)))) await hasRoom(stream);
    },
    end(message) {
      if (hasEnded || isGone()) return;
      const frame = message === undefined ? undefined : encodeFrame(method.responseSerialize(message));
      hasEnded = true;
      begin();
      stream.once('wantTrailers', () => stream.sendTrailers(OK_TRAILERS));
      stream.end(frame);
    },
    fail(failure) {
      if (hasEnded || isGone()) return;
      hasEnded = true;
      if (!stream.headersSent) {
        failOnly(stream, failure);
        return;
      }
      stream.once('wantTrailers', () => stream.sendTrailers(failureTrailers(failure)));
      stream.end();
    },
  };
}
