// Headers and trailers of a call (PROTOCOL-HTTP2.md).
import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2';
import { CODES, type GrpcFailure } from './codes.ts';

export const CONTENT_TYPE = 'application/grpc';
/**
 * Of the headers of one call, names and 32 bytes for each counted in (RFC 9113, 6.5.2). Said to the peer, who then
 * fails the call that has more; unsaid, a field of 64 KiB breaks the connection and all calls on it.
 */
export const MAX_HEADER_LIST_BYTES = 32 * 1024;
const REASON_HEADER = 'windlass-reason';
const UNITS_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };
/** Of a failure's words; a peer drops the connection over headers that are too long for it. */
const MAX_WORDS = 4096;
/** What eight digits of milliseconds can say. */
const MAX_TIMEOUT_MS = 99_999_999;

/** `250m` for a quarter of a second. */
export function encodeTimeout(ms: number): string {
  return ms > MAX_TIMEOUT_MS ? `${Math.ceil(ms / 1000)}S` : `${Math.max(1, Math.ceil(ms))}m`;
}

/** Milliseconds; undefined without a (valid) timeout. */
export function decodeTimeout(text: string | string[] | undefined): number | undefined {
  const [, digits, unit = ''] = (typeof text === 'string' && /^(\d{1,8})([HMSmun])$/.exec(text)) || [];
  return digits === undefined ? undefined : Number(digits) * (UNITS_MS[unit] ?? 0);
}

/** Trailers of a call that ended well. */
export const OK_TRAILERS: OutgoingHttpHeaders = { 'grpc-status': String(CODES.OK) };

/** Trailers of one that failed. */
export function failureTrailers({ code, message, reason }: GrpcFailure): OutgoingHttpHeaders {
  return {
    'grpc-status': String(code),
    'grpc-message': percentEncode(message.length > MAX_WORDS ? `${message.slice(0, MAX_WORDS)}...` : message),
    ...(reason === undefined ? {} : { [REASON_HEADER]: reason }),
  };
}

/** What the trailers say; undefined for a call that ended well. One without a status did not come to its end. */
export function readTrailers(trailers: IncomingHttpHeaders | undefined): GrpcFailure | undefined {
  const status = trailers?.['grpc-status'];
  if (status === undefined) return { code: CODES.UNAVAILABLE, message: 'the connection ended within the call' };
  const code = Number(status);
  if (code === CODES.OK) return undefined;
  const reason = trailers?.[REASON_HEADER];
  return {
    code: Number.isInteger(code) ? code : CODES.UNKNOWN,
    message: percentDecode(String(trailers?.['grpc-message'] ?? '')),
    ...(typeof reason === 'string' ? { reason } : {}),
  };
}

/**
 * The code for a stream that ended instead of being answered, and not by its caller: node resets what is under way as
 * cancelled when a connection breaks off, and who takes that for his own cancellation would not try again.
 */
export function codeOfReset(rstCode: number | undefined): number {
  switch (rstCode) {
    case constants.NGHTTP2_ENHANCE_YOUR_CALM:
      return CODES.RESOURCE_EXHAUSTED;
    case constants.NGHTTP2_INADEQUATE_SECURITY:
      return CODES.PERMISSION_DENIED;
    case constants.NGHTTP2_NO_ERROR:
    case constants.NGHTTP2_CANCEL:
    case constants.NGHTTP2_REFUSED_STREAM:
    case undefined:
      return CODES.UNAVAILABLE;
    default:
      return CODES.INTERNAL;
  }
}

/** Bytes outside of printable ASCII, and the percent sign, as %XX of their UTF-8. */
function percentEncode(text: string): string {
  if (/^[ -$&-~]*$/.test(text)) return text;
  return [...Buffer.from(text)]
    .map((byte) =>
      byte < 0x20 || byte > 0x7e || byte === 0x25
        ? `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
        : String.fromCharCode(byte),
    )
    .join('');
}

function percentDecode(text: string): string {
  if (!text.includes('%')) return text;
  const bytes = text.replaceAll(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1').toString('utf8');
}
