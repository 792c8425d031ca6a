// A gRPC client over node:http2: one connection, made when it is needed and again after every loss.
import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { messageOf } from '../errors.ts';
import { CODES, GrpcError } from './codes.ts';
import { followCall, type GrpcRequest } from './follow-call.ts';
import { encodeFrame } from './framing.ts';
import { CONTENT_TYPE, encodeTimeout, MAX_HEADER_LIST_BYTES } from './headers.ts';

export interface GrpcTarget {
  /** Opens what a connection runs over; TLS, where there is any, is its own. */
  readonly connect: () => Duplex;
  readonly maxMessageBytes: number;
  /** How a peer that is gone without a word is found out while calls wait for it; absent = by their deadlines alone. */
  readonly keepAlive?: KeepAlive;
}

export interface KeepAlive {
  readonly everyMs: number;
  /** The connection is given up when the peer has not answered for so long. */
  readonly patienceMs: number;
}

export interface GrpcChannel extends Disposable {
  /** The answer of a unary call; rejects with a GrpcError. */
  call(request: GrpcRequest): Promise<object>;
  /** The answers of a stream, as fast as they are read; to leave the loop cancels the call. */
  stream(request: GrpcRequest): AsyncGenerator<object>;
}

/** Of a call, however often it was made. */
interface AnswerListener {
  onMessage(message: object): void;
  onEnd(error: Error | undefined): void;
}

interface Connection {
  readonly session: ClientHttp2Session;
  callsUnderWay: number;
}

/** Of one call and of the connection: what may be on its way without having been read. */
const WINDOW_BYTES = 1024 * 1024;
/** How often a call is made again that the server has not looked at: it leaves, or has all the streams that it wants. */
const MAX_REFUSALS = 3;

/** A channel to `target`; nothing is connected before the first call. */
export function createGrpcChannel({ connect: connectSocket, maxMessageBytes, keepAlive }: GrpcTarget): GrpcChannel {
  let current: Connection | undefined;

  const open = (): Connection => {
    if (current && !current.session.closed && !current.session.destroyed) return current;
    const session = connect('http://localhost', {
      createConnection: connectSocket,
      maxSessionMemory: Number.MAX_SAFE_INTEGER,
      settings: { enablePush: false, initialWindowSize: WINDOW_BYTES, maxHeaderListSize: MAX_HEADER_LIST_BYTES },
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
    if (keepAlive) watchPeer(connection, keepAlive);
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

  /** Makes the call, and gives its stream: another one after a refusal, which comes before any answer. */
  const follow = (request: GrpcRequest, listener: AnswerListener) => {
    const begin = performance.now();
    let refusals = 0;
    let stream: ClientHttp2Stream;
    const attempt = (): void => {
      const { timeoutMs } = request;
      const left = { ...request, timeoutMs: timeoutMs > 0 ? Math.max(1, timeoutMs - (performance.now() - begin)) : 0 };
      stream = start(left);
      followCall(stream, left, maxMessageBytes, {
        onMessage: (message) => listener.onMessage(message),
        onEnd(error, isUntouched) {
          if (!isUntouched || refusals === MAX_REFUSALS) {
            listener.onEnd(error);
            return;
          }
          refusals += 1;
          try {
            attempt();
          } catch (problem) {
            listener.onEnd(problem as Error);
          }
        },
      });
    };
    attempt();
    return () => stream;
  };

  return {
    call: (request) =>
      new Promise((resolve, reject) => {
        const answers: object[] = [];
        follow(request, {
          onMessage: (message) => answers.push(message),
          onEnd(error) {
            if (error) reject(error);
            else if (answers[0] !== undefined) resolve(answers[0]);
            else reject(new GrpcError({ code: CODES.INTERNAL, message: 'the call ended well, but without an answer' }));
          },
        });
      }),
    async *stream(request) {
      const answers: object[] = [];
      let [isOver, failure, wake] = [false, undefined as Error | undefined, (): void => undefined];
      const stream = follow(request, {
        onMessage(message) {
          answers.push(message);
          // Not read further until somebody asks for the next one: a reader that does not keep up holds back the sender.
          stream().pause();
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
          stream().resume();
          await new Promise<void>((resolve) => (wake = resolve));
        }
        if (failure) throw failure;
      } finally {
        if (!isOver) stream().close(constants.NGHTTP2_CANCEL);
      }
    },
    [Symbol.dispose]: () => current?.session.destroy(),
  };
}

/** Asks the peer whether it is there while a call waits for it; an idle connection is left alone, as servers want it. */
function watchPeer(connection: Connection, { everyMs, patienceMs }: KeepAlive): void {
  const { session } = connection;
  let deadline: NodeJS.Timeout | undefined;
  const timer = setInterval(() => {
    if (connection.callsUnderWay === 0 || deadline !== undefined || session.connecting) return;
    const give = (): void => session.destroy(new Error(`the peer has not answered for ${patienceMs} ms`));
    deadline = setTimeout(give, patienceMs).unref();
    session.ping(() => {
      clearTimeout(deadline);
      deadline = undefined;
    });
  }, everyMs).unref();
  session.once('close', () => {
    clearInterval(timer);
    clearTimeout(deadline);
  });
}
