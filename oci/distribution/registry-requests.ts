// Requests to one endpoint of a registry: challenges answered, refusals turned into errors with names.
import { WindlassError } from '../../lib/errors.ts';
import { formatReference, type Reference } from '../reference.ts';
import type { Authorizer } from './authorizer.ts';
import type { Endpoint } from './registries.ts';
import type { RegistryCall } from './registry-client.ts';
import { dump, type RegistryResponse, type RequestBody, type RequestOptions, type Transport } from './transport.ts';

export interface RegistryRequest {
  readonly method?: RequestOptions['method'];
  /** Below `/v2/<repository>/`, or a whole URL that the registry gave (the location of an upload). */
  readonly path: string | URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: RequestBody;
  /** What a token must allow; see pullScope() and pushScope(). */
  readonly scopes: readonly string[];
  /** Statuses beside 2xx that are an answer and no failure. */
  readonly accept?: readonly number[];
  /** For what cannot be sent twice. */
  readonly isSingleTry?: boolean;
}

export interface RegistryRequests {
  /** Answers one challenge; throws unless the status is 2xx or accepted. The caller consumes the body. */
  ask(
    endpoint: Endpoint,
    reference: Reference,
    request: RegistryRequest,
    call: RegistryCall,
  ): Promise<RegistryResponse>;
}

export const pullScope = (repository: string): string => `repository:${repository}:pull`;
export const pushScope = (repository: string): string => `repository:${repository}:pull,push`;

/** Requests over `transport`. */
export function createRegistryRequests(transport: Transport, authorizer: Authorizer): RegistryRequests {
  return {
    async ask(endpoint, reference, request, { credentials, signal }) {
      const { path, scopes, headers, body, method = 'GET' } = request;
      const url = typeof path === 'string' ? new URL(`/v2/${reference.repository}/${path}`, endpoint.origin) : path;
      const options: RequestOptions = {
        method,
        headers,
        signal,
        ...(body === undefined ? {} : { body }),
        ...(request.isSingleTry ? { isSingleTry: true } : {}),
        // A redirected upload would hand its bytes to whoever the registry names.
        followRedirects: method === 'GET' || method === 'HEAD',
      };
      // An upload may be at another host (a storage service), which gets no credentials.
      const isOwn = url.origin === endpoint.origin;
      let authorization = isOwn ? authorizer.current(endpoint, scopes, credentials) : undefined;
      let response = await transport.send(url, { ...options, authorization });
      if (response.status === 401 && isOwn) {
        await dump(response.body);
        authorization = await authorizer.answer(response, endpoint, scopes, credentials, signal);
        if (authorization !== undefined) response = await transport.send(url, { ...options, authorization });
      }
      if ((response.status >= 200 && response.status < 300) || request.accept?.includes(response.status)) {
        return response;
      }
      const problem = await errorCodes(response);
      throw statusError(response.status, {
        endpoint,
        reference,
        path,
        problem,
        hasCredentials: credentials !== undefined,
      });
    },
  };
}

export function hostOf(endpoint: Endpoint): string {
  return new URL(endpoint.origin).host;
}

interface Refusal {
  readonly endpoint: Endpoint;
  readonly reference: Reference;
  readonly path: string | URL;
  readonly problem: string;
  readonly hasCredentials: boolean;
}

function statusError(status: number, { endpoint, reference, path, problem, hasCredentials }: Refusal): WindlassError {
  const host = hostOf(endpoint);
  const name = formatReference(reference);
  const details = { details: { status } };
  if (status === 404) {
    const target = typeof path === 'string' ? path : 'upload';
    const what = target.startsWith('manifests/')
      ? `manifest unknown: ${name}`
      : target.startsWith('blobs/sha')
        ? `blob unknown: ${target.slice('blobs/'.length)} of ${name}`
        : `upload unknown: ${name}`;
    return new WindlassError('NotFound', `${what} is not at registry ${host}`, details);
  }
  if (status === 401) {
    const hint = hasCredentials ? 'the credentials were refused' : 'no credentials were given';
    return new WindlassError('Unauthorized', `registry ${host} refused access to ${name}: ${hint}`, details);
  }
  if (status === 403) {
    return new WindlassError('Forbidden', `registry ${host} refused access to ${name}${problem}`, details);
  }
  if (status === 429) {
    return new WindlassError('TooManyRequests', `registry ${host} limits requests for ${name}`, details);
  }
  const reason = status >= 500 ? 'Unavailable' : 'Invalid';
  return new WindlassError(reason, `registry ${host} answered ${status} for ${name}${problem}`, details);
}

/** The codes of an error body (distribution specification, "Error Codes"); nothing else of it is repeated. */
async function errorCodes({ body }: RegistryResponse): Promise<string> {
  try {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > 16 * 1024) break;
      chunks.push(chunk);
    }
    const codes = [
      ...Buffer.concat(chunks)
        .toString('latin1')
        .matchAll(/"code"\s*:\s*"([A-Z_]{1,40})"/g),
    ];
    return codes.length === 0 ? '' : ` (${[...new Set(codes.map((match) => match[1]))].join(', ')})`;
  } catch {
    // The status alone says enough.
    return '';
  } finally {
    body.destroy();
  }
}
