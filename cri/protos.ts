// The service definitions, read from the .proto files once per process that asks for them.
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import type { GrpcService } from './grpc/method.ts';

/** Lists of hundreds of containers with full status outgrow gRPC's default of 4 MiB. */
export const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

/** The conventions of messages.ts: every field is there, 64-bit numbers are numbers, enums their names. */
const CONVENTIONS: protobuf.IConversionOptions = { longs: Number, enums: String, defaults: true };

export interface CriServices {
  readonly runtime: GrpcService;
  readonly image: GrpcService;
  readonly node: GrpcService;
}

/** Loads proto/runtime.proto and proto/node.proto. */
export function loadCriServices(): CriServices {
  const root = new protobuf.Root();
  const files = ['proto/runtime.proto', 'proto/node.proto'].map((file) =>
    fileURLToPath(new URL(file, import.meta.url)),
  );
  root.loadSync(files, { keepCase: false }).resolveAll();
  return {
    runtime: describeService(root, 'runtime.v1.RuntimeService'),
    image: describeService(root, 'runtime.v1.ImageService'),
    node: describeService(root, 'windlass.node.v1.NodeService'),
  };
}

function describeService(root: protobuf.Root, name: string): GrpcService {
  const methods = root.lookupService(name).methodsArray.map((method) => {
    const [request, response] = [method.resolvedRequestType, method.resolvedResponseType];
    if (!request || !response) throw new Error(`the messages of ${name}.${method.name} are not defined`);
    return [
      method.name,
      {
        path: `/${name}/${method.name}`,
        responseStream: method.responseStream === true,
        requestSerialize: serializer(request),
        requestDeserialize: deserializer(request),
        responseSerialize: serializer(response),
        responseDeserialize: deserializer(response),
      },
    ] as const;
  });
  return Object.fromEntries(methods);
}

const serializer =
  (type: protobuf.Type) =>
  (message: object): Uint8Array =>
    type.encode(type.fromObject(message)).finish();

const deserializer =
  (type: protobuf.Type) =>
  (bytes: Buffer): object =>
    type.toObject(type.decode(bytes), CONVENTIONS);
