// One call on one HTTP/2 stream, from what was sent to how it ended.
import { constants, type ClientHttp2Stream, type IncomingHttpHeaders } from 'node:http2';
import { errnoOf } from '../errors.ts';
import { CODES, GrpcError, NOT_CONNECTED } from './codes.ts';
import { createFrameReader } from './framing.ts';
import { codeOfReset, readTrailers } from './headers.ts';
import type { GrpcMethod } from './method.ts';

export interface GrpcRequest {
  readonly method: GrpcMethod;
  readonly message: object;
  /** 0 = no deadline. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface CallListener {
  onMessage(message: object): void;
  /**
   * Once; without an error when the call ended well. `isUntouched`: the server says that it has not looked at the call
   * (RFC 9113, 8.7), which may be made again whatever it does.
   */
  onEnd(error: Error | undefined, isUntouched: boolean): void;
}

/** Tells the listener of the answers and of the end, which comes by itself at the deadline and with the signal. */
export function followCall(
  stream: ClientHttp2Stream,
  { method, timeoutMs, signal }: Omit<GrpcRequest, 'message'>,
  maxMessageBytes: number,
  listener: CallListener,
): void {
  // A client that offers no compression is sent none: one that comes is the server's fault.
  const reader = createFrameReader(maxMessageBytes, CODES.INTERNAL);
  let [headers, trailers, problem, isOver] = [
    undefined as IncomingHttpHeaders | undefined,
    undefined as IncomingHttpHeaders | undefined,
    undefined as Error | undefined,
    false,
  ];
  const finish = (error: Error | undefined, isUntouched = false): void => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    signal?.removeEventListener('abort', cancel);
    listener.onEnd(error, isUntouched);
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
  stream.once('response', (received) => {
    headers = received;
    // An answer of trailers only.
    if (received['grpc-status'] !== undefined) trailers = received;
    else if (received[':status'] !== 200)
      problem = new GrpcError({ code: CODES.UNKNOWN, message: `HTTP status ${received[':status']}` });
  });
  stream.once('trailers', (received: IncomingHttpHeaders) => (trailers = received));
  stream.on('data', (chunk: Buffer) => {
    try {
      for (const bytes of reader.push(chunk)) if (!isOver) listener.onMessage(method.responseDeserialize(bytes));
    } catch (error) {
      giveUp(error instanceof GrpcError ? error : new GrpcError({ code: CODES.INTERNAL, message: String(error) }));
    }
  });
  stream.on('error', (error) => {
    const isReset = errnoOf(error) === 'ERR_HTTP2_STREAM_ERROR';
    const code = isReset ? codeOfReset(stream.rstCode) : CODES.UNAVAILABLE;
    problem ??= new GrpcError({ code, message: error.message }, { cause: error });
  });
  stream.once('close', () => {
    if (trailers) {
      finish(endOf(trailers));
      return;
    }
    const isUntouched = headers === undefined && stream.rstCode === constants.NGHTTP2_REFUSED_STREAM;
    const words = { code: codeOfReset(stream.rstCode), message: 'the connection ended within the call' };
    const failure = problem ?? new GrpcError(words);
    finish(stream.pending ? neverSent(failure) : failure, isUntouched);
  });
}

/** The peer cannot have had it: there was no connection to send it on. */
const neverSent = (cause: Error): GrpcError =>
  new GrpcError({ code: CODES.UNAVAILABLE, message: `${NOT_CONNECTED}: ${cause.message}` }, { cause });

/** Who cancels is told by his own signal: a server that was stopped within the call is one to be asked again. */
function endOf(trailers: IncomingHttpHeaders): GrpcError | undefined {
  const failure = readTrailers(trailers);
  if (failure?.code !== CODES.CANCELLED) return failure && new GrpcError(failure);
  return new GrpcError({ ...failure, code: CODES.UNAVAILABLE, reason: undefined });
}
