// A method: its path, and how its messages become bytes and back.

export interface GrpcMethod {
  /** `/runtime.v1.RuntimeService/Version` */
  readonly path: string;
  readonly responseStream: boolean;
  readonly requestSerialize: (message: object) => Uint8Array;
  readonly requestDeserialize: (bytes: Buffer) => object;
  readonly responseSerialize: (message: object) => Uint8Array;
  readonly responseDeserialize: (bytes: Buffer) => object;
}

/** A service: its methods by name. */
export type GrpcService = Readonly<Record<string, GrpcMethod>>;

/** `RuntimeService/Version`. */
export function labelOf({ path }: GrpcMethod): string {
  return path.slice(path.lastIndexOf('.') + 1);
}
