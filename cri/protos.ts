// The service definitions, read from the .proto files once per process that asks for them.
import { fileURLToPath } from 'node:url';
import { loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

/** Lists of hundreds of containers with full status outgrow gRPC's default of 4 MiB. */
export const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

export interface CriServices {
  readonly runtime: ServiceClientConstructor;
  readonly image: ServiceClientConstructor;
  readonly node: ServiceClientConstructor;
}

/** Loads proto/runtime.proto and proto/node.proto with the conventions of messages.ts. */
export function loadCriServices(): CriServices {
  const files = ['proto/runtime.proto', 'proto/node.proto'].map((file) =>
    fileURLToPath(new URL(file, import.meta.url)),
  );
  const definition = loadSync(files, { keepCase: false, longs: Number, enums: String, defaults: true });
  const root = loadPackageDefinition(definition) as unknown as {
    runtime: { v1: { RuntimeService: ServiceClientConstructor; ImageService: ServiceClientConstructor } };
    windlass: { node: { v1: { NodeService: ServiceClientConstructor } } };
  };
  return {
    runtime: root.runtime.v1.RuntimeService,
    image: root.runtime.v1.ImageService,
    node: root.windlass.node.v1.NodeService,
  };
}
