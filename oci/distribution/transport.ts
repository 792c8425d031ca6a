// HTTP to one registry: retries with backoff, redirects without credentials, bodies with a limit, errors with names.
import type { Readable } from 'node:stream';
import { createSecureContext, getCACertificates } from 'node:tls';
import { Agent, request, type Dispatcher } from 'undici';
import { backoffDelayMs } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { errnoOf, isAbort, messageOf, WindlassError } from '../../lib/errors.ts';

const MAX_REDIRECTS = 5;
const MAX_TRIES = 4;
const MAX_RETRY_AFTER_MS = 10_000;

export interface RegistryResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Dispatcher.ResponseData['body'];
}

/** A stream is made anew for every try. */
export type RequestBody = string | Buffer | (() => Readable);

export interface RequestOptions {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: RequestBody;
  /** Sent to the origin of the first URL only. */
  readonly authorization?: string | undefined;
  readonly signal: AbortSignal;
  readonly followRedirects?: boolean;
  /** Never sent again by itself: the caller knows how to go on. */
  readonly isSingleTry?: boolean;
}

export interface Transport {
  /** One exchange; throws Unavailable when nobody answers. The caller consumes or dumps the body. */
  send(url: URL, options: RequestOptions): Promise<RegistryResponse>;
  readonly clock: Clock;
  close(): Promise<void>;
}

export interface TransportOptions {
  readonly clock: Clock;
  /** Longest wait for a connection, for headers, and between two pieces of a body. */
  readonly timeoutMs: number;
  readonly retryDelayMs: number;
  /** PEM of an authority that is trusted beside those of the system. */
  readonly ca?: string | undefined;
}

/** Creates a transport with its own connections. */
export function createTransport({ clock, timeoutMs, retryDelayMs, ca }: TransportOptions): Transport {
  const dispatcher = new Agent({
    connect: {
      timeout: timeoutMs,
      // One context for all connections: reading the certificates of the system takes a while.
      ...(ca === undefined ? {} : { secureContext: createSecureContext({ ca: [...getCACertificates(), ca] }) }),
    },
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    connections: 16,
    maxHeaderSize: 64 * 1024,
  });

  async function once(url: URL, options: RequestOptions): Promise<RegistryResponse> {
    let current = url;
    for (let redirects = 0; ; redirects += 1) {
      const isSameOrigin = current.origin === url.origin;
      const headers = {
        'user-agent': 'windlass',
        ...options.headers,
        ...(options.authorization !== undefined && isSameOrigin ? { authorization: options.authorization } : {}),
      };
      const {
        statusCode,
        headers: received,
        body,
      } = await request(current, {
        dispatcher,
        method: options.method ?? 'GET',
        headers,
        ...(options.body === undefined
          ? {}
          : { body: typeof options.body === 'function' ? options.body() : options.body }),
        signal: options.signal,
      });
      const location = received['location'];
      const isRedirect = [301, 302, 303, 307, 308].includes(statusCode) && typeof location === 'string';
      if (!isRedirect || options.followRedirects === false) return { status: statusCode, headers: received, body };
      await dump(body);
      current = redirectTarget(current, location, redirects);
    }
  }

  return {
    clock,
    async send(url, options) {
      const maxTries = options.isSingleTry ? 1 : MAX_TRIES;
      for (let tries = 1; ; tries += 1) {
        options.signal.throwIfAborted();
        let response: RegistryResponse | undefined;
        try {
          response = await once(url, options);
        } catch (error) {
          if (isAbort(error) || options.signal.aborted) throw options.signal.reason ?? error;
          if (error instanceof WindlassError) throw error;
          if (tries >= maxTries) throw unreachable(url, error);
        }
        if (response && (!isTemporary(response.status) || tries >= maxTries)) return response;
        if (response) await dump(response.body);
        const asked = retryAfterMs(response?.headers['retry-after'], clock.now());
        const delayMs = asked ?? backoffDelayMs(tries, { initialMs: retryDelayMs, maxMs: 4000, jitter: 0.2 });
        await clock.sleep(Math.min(delayMs, MAX_RETRY_AFTER_MS), options.signal);
      }
    },
    close: () => dispatcher.destroy(),
  };
}

/** Reads a whole body of at most `limit` bytes. */
export async function readBody({ body, headers }: RegistryResponse, limit: number, what: string): Promise<Buffer> {
  const tooLarge = (): WindlassError => new WindlassError('Invalid', `${what} has more than ${limit} bytes`);
  if (Number(headers['content-length'] ?? 0) > limit) {
    body.destroy();
    throw tooLarge();
  }
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limit) throw tooLarge();
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof WindlassError || isAbort(error)) throw error;
    throw new WindlassError('Unavailable', `${what} was cut off: ${networkProblem(error)}`, { cause: error });
  }
  return Buffer.concat(chunks);
}

/** Throws away what is left of a body, so that its connection is free again. */
export async function dump(body: RegistryResponse['body']): Promise<void> {
  try {
    await body.dump({ limit: 64 * 1024 });
  } catch {
    // The connection is gone, and with it what was to be thrown away.
    body.destroy();
  }
}

/** A short name for what went wrong on the network. */
export function networkProblem(error: unknown): string {
  for (let current = error, depth = 0; current instanceof Error && depth < 8; current = current.cause, depth += 1) {
    const first = current instanceof AggregateError ? (current.errors[0] as unknown) : undefined;
    const code = errnoOf(current) ?? errnoOf(first);
    if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT') return 'timed out';
    if (code === 'UND_ERR_CONNECT_TIMEOUT') return 'connection timed out';
    if (code === 'UND_ERR_SOCKET') return 'the connection was closed';
    if (code !== undefined) return code;
  }
  return messageOf(error);
}

function unreachable(url: URL, error: unknown): WindlassError {
  return new WindlassError('Unavailable', `registry ${url.host} cannot be reached: ${networkProblem(error)}`, {
    cause: error,
  });
}

/** Where a redirect leads; never from TLS to none, and never with a name and password in the address. */
export function redirectTarget(from: URL, location: string, redirects: number): URL {
  if (redirects >= MAX_REDIRECTS) {
    throw new WindlassError('Unavailable', `registry ${from.host} redirects more than ${MAX_REDIRECTS} times`);
  }
  const target = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  if (!target || (target.protocol !== 'https:' && target.protocol !== 'http:')) {
    throw new WindlassError('Invalid', `registry ${from.host} redirects to an invalid address`);
  }
  if (from.protocol === 'https:' && target.protocol === 'http:') {
    throw new WindlassError(
      'Forbidden',
      `registry ${from.host} redirects from https to http (${target.host}): refused`,
    );
  }
  target.username = '';
  target.password = '';
  return target;
}

function isTemporary(status: number): boolean {
  return status === 429 || status === 500 || status === 502 || status === 503 || status === 504;
}

/** RFC 9110 section 10.2.3: seconds, or a date. */
function retryAfterMs(header: string | string[] | undefined, now: number): number | undefined {
  if (typeof header !== 'string') return undefined;
  if (/^[0-9]{1,9}(\.[0-9]+)?$/.test(header.trim())) return Number(header) * 1000;
  const date = /^[A-Z]/.test(header) ? Date.parse(header) : Number.NaN;
  return Number.isNaN(date) ? undefined : Math.max(date - now, 0);
}
