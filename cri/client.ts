// A typed client of a CRI runtime and of our node service, over a unix socket.
import { fromGrpcError } from './errors.ts';
import { connect } from 'node:net';
import { createGrpcChannel, type GrpcChannel } from '../lib/grpc/client.ts';
import { labelOf, type GrpcService } from '../lib/grpc/method.ts';
import { loadCriServices, MAX_MESSAGE_BYTES } from './protos.ts';
import type {
  CallOptions,
  ImageCalls,
  ImageStreams,
  NodeCalls,
  NodeStreams,
  RuntimeCalls,
  RuntimeStreams,
  StreamClient,
  UnaryClient,
} from './services.ts';

const DEFAULT_TIMEOUT_MS = 120_000;

export interface CriClient extends Disposable {
  readonly runtime: UnaryClient<RuntimeCalls> & StreamClient<RuntimeStreams>;
  readonly images: UnaryClient<ImageCalls> & StreamClient<ImageStreams>;
  /** Answers Unimplemented (reason) when the runtime is not ours. */
  readonly node: UnaryClient<NodeCalls> & StreamClient<NodeStreams>;
}

/**
 * Connects lazily and again after every loss: while nobody listens, calls fail with reason Unavailable. Failures are
 * WindlassErrors by the table of errors.ts; an aborted signal gives an AbortError.
 */
export function createCriClient(options: { readonly socketPath: string; readonly timeoutMs?: number }): CriClient {
  const services = loadCriServices();
  const channel = createGrpcChannel({
    connect: () => connect(options.socketPath),
    maxMessageBytes: MAX_MESSAGE_BYTES,
  });
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  return {
    runtime: wrapService(services.runtime, channel, timeoutMs) as CriClient['runtime'],
    images: wrapService(services.image, channel, timeoutMs) as CriClient['images'],
    node: wrapService(services.node, channel, timeoutMs) as CriClient['node'],
    [Symbol.dispose]: () => channel[Symbol.dispose](),
  };
}

function wrapService(service: GrpcService, channel: GrpcChannel, defaultTimeoutMs: number): object {
  const calls: Record<string, unknown> = {};
  for (const [name, method] of Object.entries(service)) {
    const label = labelOf(method).replace('/', '.');
    const key = name.charAt(0).toLowerCase() + name.slice(1);
    calls[key] = method.responseStream
      ? (message: object, { signal, timeoutMs = 0 }: CallOptions = {}) =>
          readStream(label, signal, () => channel.stream({ method, message, timeoutMs, signal }))
      : async (message: object, { signal, timeoutMs = defaultTimeoutMs }: CallOptions = {}) => {
          if (signal?.aborted) throw new DOMException(`${label} was cancelled`, 'AbortError');
          try {
            return await channel.call({ method, message, timeoutMs, signal });
          } catch (error) {
            throw fromGrpcError(label, error);
          }
        };
  }
  return calls;
}

async function* readStream(
  label: string,
  signal: AbortSignal | undefined,
  open: () => AsyncGenerator<object>,
): AsyncGenerator<unknown> {
  signal?.throwIfAborted();
  try {
    yield* open();
  } catch (error) {
    throw fromGrpcError(label, error);
  }
}
