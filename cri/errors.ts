// The gRPC edge of the error table: WindlassError <-> status code. The exact reason travels beside the code in
// trailing metadata, so that two of our own processes lose nothing and a stranger still gets a fitting code.
import { isAbort, messageOf, REASONS, reasonOf, WindlassError, type Reason } from '../lib/errors.ts';
import { CODES, GrpcError, type GrpcFailure } from '../lib/grpc/codes.ts';

const CODE_OF_REASON: Readonly<Record<Reason, number>> = {
  BadRequest: CODES.INVALID_ARGUMENT,
  Unauthorized: CODES.UNAUTHENTICATED,
  Forbidden: CODES.PERMISSION_DENIED,
  NotFound: CODES.NOT_FOUND,
  AlreadyExists: CODES.ALREADY_EXISTS,
  Conflict: CODES.FAILED_PRECONDITION,
  Invalid: CODES.INVALID_ARGUMENT,
  Expired: CODES.OUT_OF_RANGE,
  Gone: CODES.NOT_FOUND,
  MethodNotAllowed: CODES.UNIMPLEMENTED,
  NotAcceptable: CODES.INVALID_ARGUMENT,
  UnsupportedMediaType: CODES.INVALID_ARGUMENT,
  RequestEntityTooLarge: CODES.RESOURCE_EXHAUSTED,
  TooManyRequests: CODES.RESOURCE_EXHAUSTED,
  Timeout: CODES.DEADLINE_EXCEEDED,
  Unavailable: CODES.UNAVAILABLE,
  Unimplemented: CODES.UNIMPLEMENTED,
  Internal: CODES.INTERNAL,
};

const REASON_OF_CODE: Readonly<Partial<Record<number, Reason>>> = {
  [CODES.INVALID_ARGUMENT]: 'Invalid',
  [CODES.UNAUTHENTICATED]: 'Unauthorized',
  [CODES.PERMISSION_DENIED]: 'Forbidden',
  [CODES.NOT_FOUND]: 'NotFound',
  [CODES.ALREADY_EXISTS]: 'AlreadyExists',
  [CODES.FAILED_PRECONDITION]: 'Conflict',
  [CODES.ABORTED]: 'Conflict',
  [CODES.OUT_OF_RANGE]: 'Expired',
  [CODES.RESOURCE_EXHAUSTED]: 'TooManyRequests',
  [CODES.DEADLINE_EXCEEDED]: 'Timeout',
  [CODES.UNAVAILABLE]: 'Unavailable',
  [CODES.UNIMPLEMENTED]: 'Unimplemented',
};

/** What a server answers for a thrown error: code, message and the reason in the trailer. */
export function toGrpcFailure(error: unknown): GrpcFailure {
  if (isAbort(error)) return { code: CODES.CANCELLED, message: 'the call was cancelled' };
  const reason = reasonOf(error) ?? 'Internal';
  return { code: CODE_OF_REASON[reason], message: messageOf(error), reason };
}

/** What a client throws for a failed call; `call` names it (`RuntimeService.RunPodSandbox`). */
export function fromGrpcError(call: string, error: unknown): Error {
  if (!(error instanceof GrpcError)) return error instanceof Error ? error : new Error(String(error));
  const { code, message, reason: named } = error;
  if (code === CODES.CANCELLED) {
    return new DOMException(`${call} was cancelled`, { name: 'AbortError', cause: error });
  }
  const reason = REASONS.find((word) => word === named) ?? REASON_OF_CODE[code] ?? 'Internal';
  // A library's own text for a deadline is a list of where the time went, another one each time.
  const isLate =
    code === CODES.DEADLINE_EXCEEDED && (message === '' || message.toLowerCase().includes('deadline exceeded'));
  const text = isLate ? `${call} was not answered in time` : message;
  return new WindlassError(reason, text || `${call} failed with gRPC code ${code}`, {
    details: { call },
    cause: error,
  });
}
