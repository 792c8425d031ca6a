// A typed client of a CRI runtime and of our node service, over a unix socket.
import { credentials, type Client, type ClientReadableStream, type ServiceClientConstructor } from '@grpc/grpc-js';
import { fromGrpcError } from './errors.ts';
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
  const connect = (constructor: ServiceClientConstructor): Client =>
    new constructor(`unix:${options.socketPath}`, credentials.createInsecure(), {
      'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
      'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
      // A shim that restarts is back within a second: do not wait gRPC's two minutes for the next try.
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.min_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1_000,
    });
  const clients = [services.runtime, services.image, services.node].map(connect) as [Client, Client, Client];
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  return {
    runtime: wrapClient(services.runtime, clients[0], timeoutMs) as CriClient['runtime'],
    images: wrapClient(services.image, clients[1], timeoutMs) as CriClient['images'],
    node: wrapClient(services.node, clients[2], timeoutMs) as CriClient['node'],
    [Symbol.dispose]() {
      for (const client of clients) client.close();
    },
  };
}

function wrapClient(constructor: ServiceClientConstructor, client: Client, timeoutMs: number): object {
  const calls: Record<string, unknown> = {};
  for (const [name, method] of Object.entries(constructor.service)) {
    const label = `${constructor.serviceName.split('.').pop()}.${name}`;
    const key = name.charAt(0).toLowerCase() + name.slice(1);
    if (method.responseStream) {
      calls[key] = (request: object, options: CallOptions = {}) =>
        readStream(label, options.signal, () =>
          client.makeServerStreamRequest(
            method.path,
            method.requestSerialize,
            method.responseDeserialize,
            request,
            deadlineOf(options.timeoutMs ?? 0),
          ),
        );
    } else {
      calls[key] = (request: object, options: CallOptions = {}) =>
        new Promise((resolve, reject) => {
          if (options.signal?.aborted) {
            reject(new DOMException(`${label} was cancelled`, 'AbortError'));
            return;
          }
          const call = client.makeUnaryRequest(
            method.path,
            method.requestSerialize,
            method.responseDeserialize,
            request,
            deadlineOf(options.timeoutMs ?? timeoutMs),
            (error, response) => {
              options.signal?.removeEventListener('abort', cancel);
              if (error) reject(fromGrpcError(label, error));
              else resolve(response);
            },
          );
          const cancel = (): void => call.cancel();
          options.signal?.addEventListener('abort', cancel, { once: true });
        });
    }
  }
  return calls;
}

async function* readStream(
  label: string,
  signal: AbortSignal | undefined,
  open: () => ClientReadableStream<unknown>,
): AsyncGenerator<unknown> {
  signal?.throwIfAborted();
  const stream = open();
  const cancel = (): void => stream.cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    for await (const message of stream) yield message;
  } catch (error) {
    throw fromGrpcError(label, error);
  } finally {
    signal?.removeEventListener('abort', cancel);
    // Cancelling emits an error nobody waits for any more.
    stream.on('error', () => undefined);
    stream.cancel();
  }
}

function deadlineOf(timeoutMs: number): { deadline?: number } {
  return timeoutMs > 0 ? { deadline: Date.now() + timeoutMs } : {};
}
