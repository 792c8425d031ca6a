// The status codes of gRPC (grpc.io/docs/guides/status-codes), by name.
export const CODES = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type CodeName = keyof typeof CODES;

const NAMES = Object.keys(CODES) as CodeName[];

/** `NOT_FOUND` for 5; UNKNOWN for a number that is none. */
export const nameOfCode = (code: number): CodeName => NAMES[code] ?? 'UNKNOWN';

/** How a call ended, other than well. */
export interface GrpcFailure {
  readonly code: number;
  readonly message: string;
  /** Of the trailing metadata, what our own processes tell each other. */
  readonly reason?: string | undefined;
}

/** How the words of a failure begin when the call was never sent; those of @grpc/grpc-js begin so too. */
export const NOT_CONNECTED = 'No connection established';

/** A failed call as it is thrown within this folder. */
export class GrpcError extends Error implements GrpcFailure {
  override readonly name = 'GrpcError';
  readonly code: number;
  readonly reason: string | undefined;

  constructor({ code, message, reason }: GrpcFailure, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.reason = reason;
  }
}
