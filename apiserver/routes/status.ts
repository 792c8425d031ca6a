// metav1.Status: the one place where errors become answers.
import { WindlassError, type Reason } from '../../lib/errors.ts';

export interface Status {
  readonly kind: 'Status';
  readonly apiVersion: 'v1';
  readonly metadata: { readonly continue?: string };
  readonly status: 'Success' | 'Failure';
  readonly message?: string;
  readonly reason?: string;
  readonly details?: Record<string, unknown>;
  readonly code: number;
}

/** HTTP code and upstream's spelling of each reason. */
const CODES: Readonly<Record<Reason, readonly [code: number, reason: string]>> = {
  BadRequest: [400, 'BadRequest'],
  Unauthorized: [401, 'Unauthorized'],
  Forbidden: [403, 'Forbidden'],
  NotFound: [404, 'NotFound'],
  MethodNotAllowed: [405, 'MethodNotAllowed'],
  NotAcceptable: [406, 'NotAcceptable'],
  AlreadyExists: [409, 'AlreadyExists'],
  Conflict: [409, 'Conflict'],
  Gone: [410, 'Gone'],
  Expired: [410, 'Expired'],
  RequestEntityTooLarge: [413, 'RequestEntityTooLarge'],
  UnsupportedMediaType: [415, 'UnsupportedMediaType'],
  Invalid: [422, 'Invalid'],
  TooManyRequests: [429, 'TooManyRequests'],
  Internal: [500, 'InternalError'],
  Unimplemented: [501, 'NotImplemented'],
  Unavailable: [503, 'ServiceUnavailable'],
  Timeout: [504, 'Timeout'],
};

/** What a client may come back for, and after how many seconds, unless the error's details say otherwise (0 = nothing). */
const RETRY_SECONDS: Partial<Record<Reason, number>> = { TooManyRequests: 1, Unavailable: 1, Timeout: 1 };

/** Clients in Go read `details` of these without looking whether it is there (kubectl debug ends in a panic). */
const WITH_DETAILS: ReadonlySet<Reason> = new Set(['NotFound', 'Forbidden', 'MethodNotAllowed']);

/** The Status of a failure. Anything that is not a WindlassError is InternalError, without its inner text. */
export function toStatus(error: unknown): Status {
  if (!(error instanceof WindlassError)) return toStatus(fromForeign(error));
  const [code, reason] = CODES[error.reason];
  const { causes, continueToken, retryAfterSeconds = RETRY_SECONDS[error.reason], ...facts } = error.details;
  const details = {
    ...facts,
    ...(causes
      ? {
          causes: causes.map(({ reason: word, message, field }) => ({
            reason: word,
            message,
            ...(field ? { field } : {}),
          })),
        }
      : {}),
    ...(retryAfterSeconds ? { retryAfterSeconds } : {}),
  };
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: typeof continueToken === 'string' ? { continue: continueToken } : {},
    status: 'Failure',
    message: error.message,
    reason,
    ...(Object.keys(details).length > 0 || WITH_DETAILS.has(error.reason) ? { details } : {}),
    code,
  };
}

/** The Status of something done that leaves no object to show. */
export function successStatus(details?: Record<string, unknown>): Status {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    ...(details ? { details } : {}),
    code: 200,
  };
}

// fastify's own failures come with a code and a statusCode.
function fromForeign(error: unknown): WindlassError {
  const { code, statusCode } = (error ?? {}) as { code?: string; statusCode?: number };
  if (statusCode === 413 || code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new WindlassError('RequestEntityTooLarge', 'Request entity too large: limit is 3145728', { cause: error });
  }
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500) {
    return new WindlassError('BadRequest', error instanceof Error ? error.message : 'bad request', { cause: error });
  }
  return new WindlassError('Internal', 'Internal error occurred: see the log of the API server', { cause: error });
}
