// Services of .proto files as data: of each method its path and how its messages become bytes.
import protobuf from 'protobufjs';
import type { GrpcService } from './method.ts';

/** Reads `files`, which may import one another. Throws what is wrong with them. */
export function loadProtos(files: readonly string[], options: { readonly keepCase: boolean }): protobuf.Root {
  const root = new protobuf.Root();
  root.loadSync([...files], { keepCase: options.keepCase }).resolveAll();
  return root;
}

/** The service `name` of `root`; `conventions` say what messages that were read look like. */
export function describeService(
  root: protobuf.Root,
  name: string,
  conventions: protobuf.IConversionOptions,
): GrpcService {
  const methods = root.lookupService(name).methodsArray.map((method) => {
    const [request, response] = [method.resolvedRequestType, method.resolvedResponseType];
    if (!request || !response) throw new Error(`the messages of ${name}.${method.name} are not defined`);
    return [
      method.name,
      {
        path: `/${name}/${method.name}`,
        responseStream: method.responseStream === true,
        requestSerialize: serializer(request),
        requestDeserialize: deserializer(request, conventions),
        responseSerialize: serializer(response),
        responseDeserialize: deserializer(response, conventions),
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
  (type: protobuf.Type, conventions: protobuf.IConversionOptions) =>
  (bytes: Buffer): object =>
    type.toObject(type.decode(bytes), conventions);
