// The service definitions, read from the .proto files once per process that asks for them.
import { fileURLToPath } from 'node:url';
import { loadSync } from '@grpc/proto-loader';
import type { GrpcService } from './grpc/method.ts';

/** Lists of hundreds of containers with full status outgrow gRPC's default of 4 MiB. */
export const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

export interface CriServices {
  readonly runtime: GrpcService;
  readonly image: GrpcService;
  readonly node: GrpcService;
}

/** Loads proto/runtime.proto and proto/node.proto with the conventions of messages.ts. */
export function loadCriServices(): CriServices {
  const files = ['proto/runtime.proto', 'proto/node.proto'].map((file) =>
    fileURLToPath(new URL(file, import.meta.url)),
  );
  const definition = loadSync(files, { keepCase: false, longs: Number, enums: String, defaults: true });
  const service = (name: string): GrpcService => definition[name] as unknown as GrpcService;
  return {
    runtime: service('runtime.v1.RuntimeService'),
    image: service('runtime.v1.ImageService'),
    node: service('windlass.node.v1.NodeService'),
  };
}
