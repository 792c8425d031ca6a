// How an answer of the API server that is not a success becomes a WindlassError.
import { REASONS, WindlassError, type ErrorCause, type Reason } from '../lib/errors.ts';

/** Upstream words that windlass spells differently. */
const SYNONYMS: Readonly<Record<string, Reason>> = {
  InternalError: 'Internal',
  ServiceUnavailable: 'Unavailable',
  ServerTimeout: 'Timeout',
};

const BY_CODE: Readonly<Record<number, Reason>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  406: 'NotAcceptable',
  408: 'Timeout',
  409: 'Conflict',
  410: 'Expired',
  413: 'RequestEntityTooLarge',
  415: 'UnsupportedMediaType',
  422: 'Invalid',
  429: 'TooManyRequests',
  501: 'Unimplemented',
  502: 'Unavailable',
  503: 'Unavailable',
  504: 'Timeout',
};

interface StatusObject {
  kind?: unknown;
  code?: unknown;
  reason?: unknown;
  message?: unknown;
  details?: { causes?: unknown; [key: string]: unknown };
}

/** The error for HTTP status `code` and what the body held, parsed or not. */
export function statusError(code: number, body: unknown, what: string): WindlassError {
  const status: StatusObject = body !== null && typeof body === 'object' ? body : {};
  const isStatus = status.kind === 'Status';
  const reason = (isStatus ? reasonFrom(status.reason) : undefined) ?? BY_CODE[code] ?? 'Internal';
  const message =
    isStatus && typeof status.message === 'string' && status.message !== ''
      ? status.message
      : `${what} was answered with HTTP ${code}${typeof body === 'string' && body !== '' ? `: ${firstLine(body)}` : ''}`;
  return new WindlassError(reason, message, { details: { ...status.details, code, causes: causesOf(status) } });
}

function reasonFrom(word: unknown): Reason | undefined {
  if (typeof word !== 'string') return undefined;
  return REASONS.find((reason) => reason === word) ?? SYNONYMS[word];
}

function causesOf({ details }: StatusObject): ErrorCause[] {
  if (!Array.isArray(details?.causes)) return [];
  return details.causes.map((cause: { reason?: unknown; message?: unknown; field?: unknown } | null) => ({
    reason: wordOf(cause?.reason),
    message: wordOf(cause?.message),
    ...(typeof cause?.field === 'string' ? { field: cause.field } : {}),
  }));
}

const wordOf = (value: unknown): string => (typeof value === 'string' ? value : '');

const firstLine = (text: string): string => text.trim().split('\n', 1)[0]?.slice(0, 200) ?? '';
