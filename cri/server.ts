// Registers implementations of the CRI services and of our node service on a gRPC server.
import { WindlassError } from '../lib/errors.ts';
import { toGrpcFailure } from './errors.ts';
import { nameOfCode } from '../lib/grpc/codes.ts';
import { labelOf, type GrpcService } from '../lib/grpc/method.ts';
import { createGrpcServer, type GrpcCall, type GrpcRoute, type GrpcServer } from '../lib/grpc/server.ts';
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
/** A server with all three services, not yet bound. Calls without a handler answer Unimplemented and their name. */
export function createCriServer(handlers: CriHandlers, options: CriServerOptions = {}): GrpcServer {
  const services = loadCriServices();
  const onCall = options.onCall ?? ((): void => undefined);
  const routes = [
    ...planRoutes(services.runtime, handlers.runtime, onCall),
    ...planRoutes(services.image, handlers.images, onCall),
    ...planRoutes(services.node, handlers.node, onCall),
  ];
  return createGrpcServer(routes, MAX_MESSAGE_BYTES);
}

type OnCall = NonNullable<CriServerOptions['onCall']>;

function planRoutes(service: GrpcService, handlers: object, onCall: OnCall): GrpcRoute[] {
  const table = handlers as Readonly<Record<string, UnaryHandler | StreamHandler | undefined>>;
  return Object.entries(service).map(([name, method]) => {
    const handler = table[name.charAt(0).toLowerCase() + name.slice(1)];
    const label = labelOf(method);
    const unimplemented = (): never => {
      throw new WindlassError('Unimplemented', `${label.replace('/', '.')} is not supported by this runtime`);
    };
    const handle = method.responseStream
      ? serveStream(label, (handler as StreamHandler | undefined) ?? unimplemented, onCall)
      : serveUnary(label, (handler as UnaryHandler | undefined) ?? unimplemented, onCall);
    return { method, handle };
  });
}

function serveUnary(label: string, handler: UnaryHandler, onCall: OnCall): GrpcRoute['handle'] {
  return (call) => {
    const start = performance.now();
    const { signal, finish } = watchCall(call, label);
    const run = async (): Promise<void> => {
      try {
        // A caller that has gone already wants nothing done.
        signal.throwIfAborted();
        const response = await handler(call.request, { signal });
        onCall(label, (performance.now() - start) / 1000, 'OK', undefined);
        call.end(response);
      } catch (error) {
        const isTimeout = signal.aborted && signal.reason instanceof WindlassError;
        const failure = toGrpcFailure(isTimeout ? signal.reason : error);
        onCall(label, (performance.now() - start) / 1000, nameOfCode(failure.code), error);
        call.fail(failure);
      } finally {
        finish();
      }
    };
    void run();
  };
}

function serveStream(label: string, handler: StreamHandler, onCall: OnCall): GrpcRoute['handle'] {
  return (call) => {
    const start = performance.now();
    const { signal, finish } = watchCall(call, label);
    const run = async (): Promise<void> => {
      signal.throwIfAborted();
      for await (const message of handler(call.request, { signal })) {
        signal.throwIfAborted();
        // A reader that does not keep up holds back its own stream only.
        await call.write(message);
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
        const failure = toGrpcFailure(signal.aborted ? signal.reason : error);
        onCall(label, (performance.now() - start) / 1000, nameOfCode(failure.code), error);
        call.fail(failure);
      },
    );
  };
}

/** A signal that fires on cancellation and at the caller's deadline, with a reason that tells the two apart. */
function watchCall(call: GrpcCall, label: string): { signal: AbortSignal; finish: () => void } {
  const controller = new AbortController();
  const { timeoutMs } = call;
  const expire = (): void => {
    const late = new WindlassError('Timeout', `${label} did not finish within its deadline`);
    controller.abort(late);
    // The caller is not kept waiting for a handler that does not heed the signal at once.
    call.fail(toGrpcFailure(late));
  };
  const timer = timeoutMs !== undefined && timeoutMs < 2 ** 31 ? setTimeout(expire, timeoutMs) : undefined;
  call.onCancelled(() => controller.abort());
  return { signal: controller.signal, finish: () => clearTimeout(timer) };
}
