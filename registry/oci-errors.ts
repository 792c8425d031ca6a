// What a failure looks like to a client of the registry: one of the specification's codes and a status.
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes
import { messageOf, WindlassError, type Reason } from '../lib/errors.ts';

const STATUS = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 400,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  SIZE_INVALID: 400,
  UNAUTHORIZED: 401,
  DENIED: 403,
  UNSUPPORTED: 405,
  TOOMANYREQUESTS: 429,
} as const;
export type OciCode = keyof typeof STATUS;

const REASON: Readonly<Record<OciCode, Reason>> = {
  BLOB_UNKNOWN: 'NotFound',
  BLOB_UPLOAD_INVALID: 'BadRequest',
  BLOB_UPLOAD_UNKNOWN: 'NotFound',
  DIGEST_INVALID: 'Invalid',
  MANIFEST_BLOB_UNKNOWN: 'Invalid',
  MANIFEST_INVALID: 'Invalid',
  MANIFEST_UNKNOWN: 'NotFound',
  NAME_INVALID: 'Invalid',
  NAME_UNKNOWN: 'NotFound',
  SIZE_INVALID: 'Invalid',
  UNAUTHORIZED: 'Unauthorized',
  DENIED: 'Forbidden',
  UNSUPPORTED: 'MethodNotAllowed',
  TOOMANYREQUESTS: 'TooManyRequests',
};

/** For what was thrown without a code: by the content store, by what parses manifests, by the host. */
const BY_REASON: Readonly<Partial<Record<Reason, { code: OciCode | 'UNKNOWN'; status: number }>>> = {
  Unauthorized: { code: 'UNAUTHORIZED', status: 401 },
  Forbidden: { code: 'DENIED', status: 403 },
  NotFound: { code: 'BLOB_UNKNOWN', status: 404 },
  TooManyRequests: { code: 'TOOMANYREQUESTS', status: 429 },
  MethodNotAllowed: { code: 'UNSUPPORTED', status: 405 },
  Timeout: { code: 'UNKNOWN', status: 504 },
  Unavailable: { code: 'UNKNOWN', status: 503 },
};

/** A refusal with the code a client knows. `status` is set where the specification wants another than the code's own. */
export function refuse(code: OciCode, message: string, options: { status?: number; cause?: unknown } = {}) {
  const details = { code, ...(options.status === undefined ? {} : { status: options.status }) };
  return new WindlassError(REASON[code], message, { details, cause: options.cause });
}

export interface OciAnswer {
  readonly status: number;
  readonly body: { readonly errors: readonly { code: string; message: string }[] };
}

/** The answer for anything that can be thrown; faults of ours say no more than that they are. */
export function toOciAnswer(error: unknown): OciAnswer {
  const own = error instanceof WindlassError ? error : undefined;
  const code = own?.details['code'];
  const known = typeof code === 'string' && Object.hasOwn(STATUS, code) ? (code as OciCode) : undefined;
  const fallback = (own && BY_REASON[own.reason]) ?? { code: 'UNKNOWN', status: 500 };
  const status = own?.details['status'];
  return {
    status: typeof status === 'number' ? status : known ? STATUS[known] : fallback.status,
    body: {
      errors: [
        {
          code: known ?? fallback.code,
          message: own ? messageOf(own) : 'internal error: the log of the registry has it',
        },
      ],
    },
  };
}
