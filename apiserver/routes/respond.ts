// Answers onto the wire, with backpressure for streams.
import { constants, gzip } from 'node:zlib';
import { promisify } from 'node:util';
import type { ServerResponse } from 'node:http';
import { constants as http2, type Http2ServerResponse } from 'node:http2';
import type { Answer } from './call.ts';

export type RawResponse = ServerResponse | Http2ServerResponse;

/** How long the reader of a stream may take nothing before it is cut. */
export const STALL_MS = 60_000;
const GZIP_ABOVE_BYTES = 128 * 1024;
const compress = promisify(gzip);

export interface SendOptions {
  readonly warnings: readonly string[];
  readonly acceptEncoding: string;
  /** Fires when the client leaves. */
  readonly signal: AbortSignal;
  readonly stallMs?: number;
}

/** Writes `answer`. Resolves when all of it is handed to the socket or the client has left. */
export async function sendAnswer(raw: RawResponse, answer: Answer, options: SendOptions): Promise<void> {
  const { warnings, acceptEncoding, signal, stallMs = STALL_MS } = options;
  const response = raw as ServerResponse;
  if (response.destroyed || response.headersSent) return;
  response.statusCode = answer.status;
  response.setHeader('Content-Type', answer.contentType);
  response.setHeader('Cache-Control', 'no-cache, private');
  for (const [name, value] of Object.entries(answer.headers ?? {})) response.setHeader(name, value);
  if (warnings.length > 0) response.setHeader('Warning', warningHeaders(warnings));
  const { body } = answer;
  if (typeof body === 'string' || Buffer.isBuffer(body)) {
    let bytes = typeof body === 'string' ? Buffer.from(body) : body;
    if (bytes.length > GZIP_ABOVE_BYTES && /\bgzip\b/.test(acceptEncoding)) {
      bytes = await compress(bytes, { level: constants.Z_BEST_SPEED });
      response.setHeader('Content-Encoding', 'gzip');
    }
    response.setHeader('Content-Length', bytes.length);
    response.end(answer.status === 304 ? undefined : bytes);
    return;
  }
  response.flushHeaders();
  for await (const chunk of body) {
    if (signal.aborted) break;
    if (response.write(chunk) || response.destroyed) continue;
    // A watcher that does not read would otherwise keep its events in memory, and its stream open, for ever.
    if (!(await drained(response, answer.mayStall ? undefined : stallMs))) return cut(raw);
  }
  response.end();
}

/** Ends an answer that cannot be finished, so that the client sees that it was not. */
export function cut(raw: RawResponse): void {
  // A destroyed HTTP/2 stream would end with NO_ERROR, which reads as a complete answer.
  if ('stream' in raw && raw.stream) raw.stream.close(http2.NGHTTP2_INTERNAL_ERROR);
  else raw.destroy();
}

/** False when `response` took nothing for `limitMs`; true once it can take more, or is closed. */
function drained(response: ServerResponse, limitMs: number | undefined): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (isMoving: boolean): void => {
      clearTimeout(timer);
      response.off('drain', onMove);
      response.off('close', onMove);
      resolve(isMoving);
    };
    const onMove = (): void => settle(true);
    const timer = limitMs === undefined ? undefined : setTimeout(settle, limitMs, false);
    response.on('drain', onMove);
    response.on('close', onMove);
  });
}

/** What clients take as the headers of one answer is little (16 KiB in Node), and they fail when it is more. */
const MAX_WARNING_BYTES = 4096;
const MAX_WARNINGS_BYTES = 8192;

/** Warnings as headers, each once; those beyond what a client can take are only counted. */
export function warningHeaders(warnings: readonly string[]): string[] {
  const headers: string[] = [];
  let bytes = 0;
  const different = [...new Set(warnings)];
  for (const [index, text] of different.entries()) {
    const header = warningHeader(text);
    bytes += header.length;
    if (bytes > MAX_WARNINGS_BYTES) return [...headers, warningHeader(`and ${different.length - index} more warnings`)];
    headers.push(header);
  }
  return headers;
}

// RFC 9111 5.5 form, one line of printable text; cut before quotes are escaped, so that no escape is cut in two.
function warningHeader(text: string): string {
  const printable = text.slice(0, MAX_WARNING_BYTES).replaceAll(/[^\x20-\x7e]+/g, ' ');
  return `299 - "${printable.replaceAll(/(["\\])/g, '\\$1')}"`;
}
