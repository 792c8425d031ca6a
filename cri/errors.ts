// The gRPC edge of the error table: WindlassError <-> status code. The exact reason travels beside the code in
// trailing metadata, so that two of our own processes lose nothing and a stranger still gets a fitting code.
import { Metadata, status, type ServiceError } from '@grpc/grpc-js';
import { isAbort, messageOf, REASONS, reasonOf, WindlassError, type Reason } from '../lib/errors.ts';

const REASON_KEY = 'windlass-reason';

const CODE_OF_REASON: Readonly<Record<Reason, status>> = {
  BadRequest: status.INVALID_ARGUMENT,
  Unauthorized: status.UNAUTHENTICATED,
  Forbidden: status.PERMISSION_DENIED,
  NotFound: status.NOT_FOUND,
  AlreadyExists: status.ALREADY_EXISTS,
  Conflict: status.FAILED_PRECONDITION,
  Invalid: status.INVALID_ARGUMENT,
  Expired: status.OUT_OF_RANGE,
  Gone: status.NOT_FOUND,
  MethodNotAllowed: status.UNIMPLEMENTED,
  NotAcceptable: status.INVALID_ARGUMENT,
  UnsupportedMediaType: status.INVALID_ARGUMENT,
  RequestEntityTooLarge: status.RESOURCE_EXHAUSTED,
  TooManyRequests: status.RESOURCE_EXHAUSTED,
  Timeout: status.DEADLINE_EXCEEDED,
  Unavailable: status.UNAVAILABLE,
  Unimplemented: status.UNIMPLEMENTED,
  Internal: status.INTERNAL,
};

const REASON_OF_CODE: Readonly<Partial<Record<status, Reason>>> = {
  [status.INVALID_ARGUMENT]: 'Invalid',
  [status.UNAUTHENTICATED]: 'Unauthorized',
  [status.PERMISSION_DENIED]: 'Forbidden',
  [status.NOT_FOUND]: 'NotFound',
  [status.ALREADY_EXISTS]: 'AlreadyExists',
  [status.FAILED_PRECONDITION]: 'Conflict',
  [status.ABORTED]: 'Conflict',
  [status.OUT_OF_RANGE]: 'Expired',
  [status.RESOURCE_EXHAUSTED]: 'TooManyRequests',
  [status.DEADLINE_EXCEEDED]: 'Timeout',
  [status.UNAVAILABLE]: 'Unavailable',
  [status.UNIMPLEMENTED]: 'Unimplemented',
};

/** What a server answers for a thrown error: code, message and the reason in the trailer. */
export function toGrpcError(error: unknown): Pick<ServiceError, 'code' | 'details' | 'metadata'> {
  const metadata = new Metadata();
  if (isAbort(error)) return { code: status.CANCELLED, details: 'the call was cancelled', metadata };
  const reason = reasonOf(error) ?? 'Internal';
  metadata.set(REASON_KEY, reason);
  return { code: CODE_OF_REASON[reason], details: messageOf(error), metadata };
}

/** What a client throws for a failed call; `call` names it (`RuntimeService.RunPodSandbox`). */
export function fromGrpcError(call: string, error: unknown): Error {
  const failure = error as Partial<ServiceError>;
  if (typeof failure.code !== 'number') return error instanceof Error ? error : new Error(String(error));
  if (failure.code === status.CANCELLED) {
    return new DOMException(`${call} was cancelled`, { name: 'AbortError', cause: error });
  }
  const named = failure.metadata?.get(REASON_KEY)[0];
  const reason = REASONS.find((word) => word === named) ?? REASON_OF_CODE[failure.code as status] ?? 'Internal';
  // The library's own text for a deadline is a list of where the time went, another one each time.
  const isLate = failure.code === status.DEADLINE_EXCEEDED && (failure.details ?? '').startsWith('Deadline exceeded');
  const message = isLate ? `${call} was not answered in time` : failure.details;
  return new WindlassError(reason, message || `${call} failed with gRPC code ${failure.code}`, {
    details: { call },
    cause: error,
  });
}
