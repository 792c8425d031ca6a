// A gRPC client over node:http2 and a unix socket: one connection, made when it is needed and again after every loss.
import {
  connect,
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
} from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { messageOf } from '../../lib/errors.ts';
import { CODES, GrpcError } from './codes.ts';
import { createFrameReader, encodeFrame } from './framing.ts';
import { codeOfReset, CONTENT_TYPE, encodeTimeout, readTrailers } from './headers.ts';
import type { GrpcMethod } from './method.ts';

export interface GrpcRequest {
  readonly method: GrpcMethod;
  readonly message: object;
  /** 0 = no deadline. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface GrpcChannel extends Disposable {
  /** The answer of a unary call; rejects with a GrpcError. */
  call(request: GrpcRequest): Promise<object>;
  /** The answers of a stream, as fast as they are read; to leave the loop cancels the call. */
  stream(request: GrpcRequest): AsyncGenerator<object>;
}

interface Connection {
  readonly session: ClientHttp2Session;
  callsUnderWay: number;
}

/** Of one call and of the connection: what may be on its way without having been read. */
const WINDOW_BYTES = 1024 * 1024;

export function createGrpcChannel(socketPath: string, maxMessageBytes: number): GrpcChannel {
  let current: Connection | undefined;

  const open = (): Connection => {
    if (current && !current.session.closed && !current.session.destroyed) return current;
    const session = connect('http://localhost', {
      createConnection: () => connectSocket(socketPath),
      maxSessionMemory: Number.MAX_SAFE_INTEGER,
      settings: { enablePush: false, initialWindowSize: WINDOW_BYTES },
    });
    const connection: Connection = { session, callsUnderWay: 0 };
    const forget = (): void => {
      if (current === connection) current = undefined;
    };
    session.once('connect', () => session.setLocalWindowSize(WINDOW_BYTES));
    session.once('close', forget);
    // Its server ends: what is under way may come to its end, the next call needs another connection.
    session.once('goaway', forget);
    // Told by each of its streams.
    session.on('error', forget);
    current = connection;
    return connection;
  };

  const start = ({ method, message, timeoutMs }: GrpcRequest): ClientHttp2Stream => {
    const frame = encodeFrame(method.requestSerialize(message));
    const connection = open();
    const { session } = connection;
    let stream: ClientHttp2Stream;
    try {
      stream = session.request({
        ':method': 'POST',
        ':path': method.path,
        'content-type': CONTENT_TYPE,
        te: 'trailers',
        ...(timeoutMs > 0 ? { 'grpc-timeout': encodeTimeout(timeoutMs) } : {}),
      });
    } catch (error) {
      // It is being closed, and has not said so yet.
      throw new GrpcError({ code: CODES.UNAVAILABLE, message: messageOf(error) }, { cause: error });
    }
    // An idle connection keeps no process alive, a call does.
    connection.callsUnderWay += 1;
    session.ref();
    stream.once('close', () => {
      connection.callsUnderWay -= 1;
      if (connection.callsUnderWay === 0 && !session.destroyed) session.unref();
    });
    stream.end(frame);
    return stream;
  };

  return {
    call: (request) =>
      new Promise((resolve, reject) => {
        const answers: object[] = [];
        followCall(start(request), request, maxMessageBytes, {
          onMessage: (message) => answers.push(message),
          onEnd(error) {
            if (error) reject(error);
            else if (answers[0] !== undefined) resolve(answers[0]);
            else reject(new GrpcError({ code: CODES.INTERNAL, message: 'the call ended well, but without an answer' }));
          },
        });
      }),
    async *stream(request) {
      const stream = start(request);
      const answers: object[] = [];
      let [isOver, failure, wake] = [false, undefined as Error | undefined, (): void => undefined];
      followCall(stream, request, maxMessageBytes, {
        onMessage(message) {
          answers.push(message);
          // Not read further until somebody asks for the next one: a reader that does not keep up holds back the sender.
          stream.pause();
          wake();
        },
        onEnd(error) {
          [isOver, failure] = [true, error];
          wake();
        },
      });
      try {
        for (;;) {
          const next = answers.shift();
          if (next !== undefined) {
            yield next;
            continue;
          }
          if (isOver) break;
          stream.resume();
          await new Promise<void>((resolve) => (wake = resolve));
        }
        if (failure) throw failure;
      } finally {
        if (!isOver) stream.close(constants.NGHTTP2_CANCEL);
      }
    },
    [Symbol.dispose]: () => current?.session.destroy(),
  };
}

interface CallListener {
  onMessage(message: object): void;
  /** Once; without an error when the call ended well. */
  onEnd(error: Error | undefined): void;
}

function followCall(
  stream: ClientHttp2Stream,
  { method, timeoutMs, signal }: GrpcRequest,
  maxMessageBytes: number,
  listener: CallListener,
): void {
  const reader = createFrameReader(maxMessageBytes);
  let [trailers, problem, isOver] = [
    undefined as IncomingHttpHeaders | undefined,
    undefined as Error | undefined,
    false,
  ];
  const finish = (error: Error | undefined): void => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    signal?.removeEventListener('abort', cancel);
    listener.onEnd(error);
  };
  const giveUp = (error: Error): void => {
    stream.close(constants.NGHTTP2_CANCEL);
    finish(error);
  };
  const cancel = (): void => giveUp(new GrpcError({ code: CODES.CANCELLED, message: 'the call was cancelled' }));
  const timer =
    timeoutMs > 0 && timeoutMs < 2 ** 31
      ? setTimeout(() => giveUp(new GrpcError({ code: CODES.DEADLINE_EXCEEDED, message: '' })), timeoutMs)
      : undefined;
  signal?.addEventListener('abort', cancel, { once: true });
  stream.once('response', (headers) => {
    // An answer of trailers only.
    if (headers['grpc-status'] !== undefined) trailers = headers;
    else if (headers[':status'] !== 200)
      problem = new GrpcError({ code: CODES.UNKNOWN, message: `HTTP status ${headers[':status']}` });
  });
  stream.once('trailers', (headers: IncomingHttpHeaders) => (trailers = headers));
  stream.on('data', (chunk: Buffer) => {
    try {
      for (const bytes of reader.push(chunk)) if (!isOver) listener.onMessage(method.responseDeserialize(bytes));
    } catch (error) {
      giveUp(error instanceof GrpcError ? error : new GrpcError({ code: CODES.INTERNAL, message: String(error) }));
    }
  });
  stream.on('error', (error) => {
    problem ??= new GrpcError({ code: CODES.UNAVAILABLE, message: error.message }, { cause: error });
  });
  stream.once('close', () => {
    const failure = trailers ? readTrailers(trailers) : undefined;
    if (trailers) finish(failure && new GrpcError(failure));
    else if (problem) finish(problem);
    else finish(new GrpcError({ code: codeOfReset(stream.rstCode), message: 'the connection ended within the call' }));
  });
}
