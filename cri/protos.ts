// The service definitions, read from the .proto files once per process that asks for them.
import { fileURLToPath } from 'node:url';
import { describeService, loadProtos } from '../lib/grpc/describe-service.ts';
import type { GrpcService } from '../lib/grpc/method.ts';

/** Lists of hundreds of containers with full status outgrow gRPC's default of 4 MiB. */
export const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

/** The conventions of messages.ts: every field is there, 64-bit numbers are numbers, enums their names. */
const CONVENTIONS = { longs: Number, enums: String, defaults: true };

export interface CriServices {
  readonly runtime: GrpcService;
  readonly image: GrpcService;
  readonly node: GrpcService;
}

/** Loads proto/runtime.proto and proto/node.proto. */
export function loadCriServices(): CriServices {
  const files = ['proto/runtime.proto', 'proto/node.proto'].map((file) =>
    fileURLToPath(new URL(file, import.meta.url)),
  );
  const root = loadProtos(files, { keepCase: false });
  return {
    runtime: describeService(root, 'runtime.v1.RuntimeService', CONVENTIONS),
    image: describeService(root, 'runtime.v1.ImageService', CONVENTIONS),
    node: describeService(root, 'windlass.node.v1.NodeService', CONVENTIONS),
  };
}
