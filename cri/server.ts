// Registers implementations of the CRI services and of our node service on a gRPC server.
import { once } from 'node:events';
import {
  Server,
  status,
  type Deadline,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type ServiceClientConstructor,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { WindlassError } from '../lib/errors.ts';
import { toGrpcError } from './errors.ts';
import { loadCriServices, MAX_MESSAGE_BYTES } from './protos.ts';
import type {
  CallContext,
  ImageCalls,
  ImageStreams,
  NodeCalls,
  NodeStreams,
  RuntimeCalls,
  RuntimeStreams,
  StreamHandlers,
  UnaryHandlers,
} from './services.ts';

export interface CriHandlers {
  readonly runtime: UnaryHandlers<RuntimeCalls> & StreamHandlers<RuntimeStreams>;
  readonly images: UnaryHandlers<ImageCalls> & StreamHandlers<ImageStreams>;
  readonly node: UnaryHandlers<NodeCalls> & StreamHandlers<NodeStreams>;
}

export interface CriServerOptions {
  /** Told of every finished call: `RuntimeService/Version`, seconds, and the gRPC code's name (`OK`). */
  readonly onCall?: (method: string, seconds: number, code: string, error: unknown) => void;
}

type UnaryHandler = (request: object, context: CallContext) => Promise<object>;
type StreamHandler = (request: object, context: CallContext) => AsyncIterable<object>;
interface IncomingCall {
  getDeadline(): Deadline;
  on(event: 'cancelled', listener: () => void): unknown;
}

/** A server with all three services, not yet bound. Calls without a handler answer Unimplemented and their name. */
export function createCriServer(handlers: CriHandlers, options: CriServerOptions = {}): Server {
  const services = loadCriServices();
  const server = new Server({
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  });
  const onCall = options.onCall ?? ((): void => undefined);
  addService(server, services.runtime, handlers.runtime, onCall);
  addService(server, services.image, handlers.images, onCall);
  addService(server, services.node, handlers.node, onCall);
  return server;
}

function addService(
  server: Server,
  constructor: ServiceClientConstructor,
  handlers: object,
  onCall: NonNullable<CriServerOptions['onCall']>,
): void {
  const table = handlers as Readonly<Record<string, UnaryHandler | StreamHandler | undefined>>;
  const implementation: UntypedServiceImplementation = {};
  const serviceName = constructor.serviceName.split('.').pop() ?? '';
  for (const [name, method] of Object.entries(constructor.service)) {
    const handler = table[name.charAt(0).toLowerCase() + name.slice(1)];
    const label = `${serviceName}/${name}`;
    const unimplemented = (): never => {
      throw new WindlassError('Unimplemented', `${serviceName}.${name} is not supported by this runtime`);
    };
    implementation[name] = method.responseStream
      ? serveStream(label, (handler as StreamHandler | undefined) ?? unimplemented, onCall)
      : serveUnary(label, (handler as UnaryHandler | undefined) ?? unimplemented, onCall);
  }
  server.addService(constructor.service, implementation);
}

function serveUnary(
  label: string,
  handler: UnaryHandler,
  onCall: NonNullable<CriServerOptions['onCall']>,
): handleUnaryCall<object, object> {
  return (call, callback) => {
    const start = performance.now();
    const { signal, finish } = watchCall(call, label);
    const run = async (): Promise<void> => {
      try {
        // A caller that has gone already wants nothing done.
        signal.throwIfAborted();
        const response = await handler(call.request, { signal });
        onCall(label, (performance.now() - start) / 1000, 'OK', undefined);
        callback(null, response);
      } catch (error) {
        const isTimeout = signal.aborted && signal.reason instanceof WindlassError;
        const answer = toGrpcError(isTimeout ? signal.reason : error);
        onCall(label, (performance.now() - start) / 1000, status[answer.code], error);
        callback(answer, null);
      } finally {
        finish();
      }
    };
    void run();
  };
}

function serveStream(
  label: string,
  handler: StreamHandler,
  onCall: NonNullable<CriServerOptions['onCall']>,
): handleServerStreamingCall<object, object> {
  return (call) => {
    const start = performance.now();
    const { signal, finish } = watchCall(call, label);
    const run = async (): Promise<void> => {
      signal.throwIfAborted();
      for await (const message of handler(call.request, { signal })) {
        signal.throwIfAborted();
        // A reader that does not keep up holds back its own stream only.
        if (!call.write(message)) await once(call, 'drain', { signal });
      }
      // A stream cut off by its deadline must not look like one that came to its end.
      signal.throwIfAborted();
    };
    run().then(
      () => {
        finish();
        onCall(label, (performance.now() - start) / 1000, 'OK', undefined);
        call.end();
      },
      (error: unknown) => {
        finish();
        const answer = toGrpcError(signal.aborted ? signal.reason : error);
        onCall(label, (performance.now() - start) / 1000, status[answer.code], error);
        call.emit('error', answer);
      },
    );
  };
}

/** A signal that fires on cancellation and at the caller's deadline, with a reason that tells the two apart. */
function watchCall(call: IncomingCall, label: string): { signal: AbortSignal; finish: () => void } {
  const controller = new AbortController();
  const deadline = call.getDeadline();
  const remainingMs = deadline instanceof Date ? deadline.getTime() - Date.now() : deadline - Date.now();
  const expire = (): void =>
    controller.abort(new WindlassError('Timeout', `${label} did not finish within its deadline`));
  if (remainingMs <= 0) expire();
  const timer =
    remainingMs > 0 && Number.isFinite(remainingMs) && remainingMs < 2 ** 31
      ? setTimeout(expire, remainingMs)
      : undefined;
  call.on('cancelled', () => controller.abort());
  return { signal: controller.signal, finish: () => clearTimeout(timer) };
}
