// The OCI distribution protocol, reading side: manifests and blobs from a registry or its mirrors.
import { backoffDelayMs } from '../../lib/backoff.ts';
import { systemClock, type Clock } from '../../lib/clock.ts';
import { isAbort, WindlassError } from '../../lib/errors.ts';
import type { ContentStore } from '../content-store.ts';
import type { Ingest } from '../ingest.ts';
import { digestMismatch, digestOf, isDigest, splitDigest } from '../digest.ts';
import { MANIFEST_LIMITS, type Descriptor } from '../manifest.ts';
import { INDEX_TYPES, MANIFEST_TYPES, MEDIA_TYPES } from '../media-types.ts';
import { formatReference, type Reference } from '../reference.ts';
import { createSharedWork } from '../shared-work.ts';
import { createAuthorizer } from './authorizer.ts';
import { endpointsOf, type Endpoint, type RegistriesConfig } from './registries.ts';
import type { RegistryCall, RegistryClient } from './registry-client.ts';
import { createTransport, dump, networkProblem, readBody, type RegistryResponse } from './transport.ts';

/** Tries without a single new byte before a download is given up. */
const MAX_STALLED_TRIES = 4;

export interface RegistryClientOptions {
  readonly registries: RegistriesConfig;
  readonly clock?: Clock;
  readonly timeoutMs?: number;
  readonly retryDelayMs?: number;
}

/** Creates a client with its own connections, tokens and running downloads. */
export function createRegistryClient(options: RegistryClientOptions): RegistryClient {
  const { registries, clock = systemClock, timeoutMs = 30_000, retryDelayMs = 200 } = options;
  const transport = createTransport({ clock, timeoutMs, retryDelayMs });
  const authorizer = createAuthorizer(transport);
  const downloads = createSharedWork<void>();

  /** Asks one endpoint, answering one challenge; throws unless the status is 2xx. */
  async function ask(
    endpoint: Endpoint,
    reference: Reference,
    path: string,
    headers: Record<string, string>,
    { credentials, signal }: RegistryCall,
  ): Promise<RegistryResponse> {
    const { repository } = reference;
    const url = new URL(`/v2/${repository}/${path}`, endpoint.origin);
    let authorization = authorizer.current(endpoint, repository, credentials);
    let response = await transport.send(url, { headers, authorization, signal });
    if (response.status === 401) {
      await dump(response.body);
      authorization = await authorizer.answer(response, endpoint, repository, credentials, signal);
      if (authorization !== undefined) response = await transport.send(url, { headers, authorization, signal });
    }
    if (response.status >= 200 && response.status < 300) return response;
    await dump(response.body);
    throw statusError(response, endpoint, reference, path, credentials !== undefined);
  }

  /** Tries the mirrors, then the registry itself, whose failure is the one that counts. */
  async function viaEndpoints<T>(
    reference: Reference,
    signal: AbortSignal,
    use: (endpoint: Endpoint) => Promise<T>,
  ): Promise<T> {
    const endpoints = endpointsOf(reference.registry, registries);
    for (const endpoint of endpoints) {
      try {
        return await use(endpoint);
      } catch (error) {
        if (!endpoint.isMirror || signal.aborted || isAbort(error)) throw error;
      }
    }
    throw new WindlassError('Internal', `registry ${reference.registry} has no endpoint`);
  }

  async function getManifest(
    endpoint: Endpoint,
    reference: Reference,
    target: string,
    call: RegistryCall,
  ): Promise<{ descriptor: Descriptor; bytes: Buffer }> {
    const accept = [...MANIFEST_TYPES, ...INDEX_TYPES].join(', ');
    const response = await ask(endpoint, reference, `manifests/${target}`, { accept }, call);
    const what = `manifest ${target} of ${reference.registry}/${reference.repository}`;
    const bytes = await readBody(response, MANIFEST_LIMITS.manifestBytes, what);
    const claimed = isDigest(target) ? target : response.headers['docker-content-digest'];
    if (isDigest(claimed)) {
      const found = digestOf(bytes, splitDigest(claimed).algorithm);
      if (found !== claimed) throw digestMismatch(`${what} from registry ${hostOf(endpoint)}`, claimed, found);
    }
    const digest = isDigest(target) ? target : digestOf(bytes);
    const contentType = response.headers['content-type'];
    return { descriptor: { mediaType: mediaTypeOf(contentType, bytes), digest, size: bytes.length }, bytes };
  }

  async function download(
    reference: Reference,
    descriptor: Descriptor,
    store: ContentStore,
    call: RegistryCall & { onProgress?: (completedBytes: number) => void },
  ): Promise<void> {
    const fill = async (endpoint: Endpoint): Promise<void> => {
      await using ingest = closing(await store.openIngest(descriptor.digest, descriptor.size));
      const isResumed = ingest.value.offset > 0;
      try {
        await fillFrom(endpoint, reference, descriptor, ingest.value, call);
      } catch (error) {
        // What an earlier try left may have been the damaged part; commit() deleted it.
        if (!isResumed || !(error instanceof WindlassError && error.details['found'] !== undefined)) throw error;
        await using fresh = closing(await store.openIngest(descriptor.digest, descriptor.size));
        await fillFrom(endpoint, reference, descriptor, fresh.value, call);
      }
    };
    await viaEndpoints(reference, call.signal, fill);
  }

  async function fillFrom(
    endpoint: Endpoint,
    reference: Reference,
    descriptor: Descriptor,
    ingest: Ingest,
    call: RegistryCall & { onProgress?: (completedBytes: number) => void },
  ): Promise<void> {
    let stalled = 0;
    // An empty blob needs no request, and a complete one was interrupted just before its commit.
    while (ingest.offset < descriptor.size) {
      const before = ingest.offset;
      try {
        await receive(endpoint, reference, descriptor, ingest, call);
        if (ingest.offset < descriptor.size) throw new Error('the body ended early');
      } catch (error) {
        if (call.signal.aborted) throw call.signal.reason;
        if (error instanceof WindlassError) throw error;
        stalled = ingest.offset > before ? 1 : stalled + 1;
        if (stalled >= MAX_STALLED_TRIES) {
          throw new WindlassError(
            'Unavailable',
            `blob ${descriptor.digest} from registry ${hostOf(endpoint)} was cut off at ${ingest.offset} of ` +
              `${descriptor.size} bytes: ${networkProblem(error)}`,
            { cause: error },
          );
        }
        await clock.sleep(backoffDelayMs(stalled, { initialMs: retryDelayMs, maxMs: 4000, jitter: 0.2 }), call.signal);
      }
    }
    try {
      await ingest.commit();
    } catch (error) {
      if (!(error instanceof WindlassError)) throw error;
      const message = `${error.message} (from registry ${hostOf(endpoint)})`;
      throw new WindlassError(error.reason, message, { details: error.details, cause: error });
    }
  }

  async function receive(
    endpoint: Endpoint,
    reference: Reference,
    descriptor: Descriptor,
    ingest: Ingest,
    call: RegistryCall & { onProgress?: (completedBytes: number) => void },
  ): Promise<void> {
    const headers: Record<string, string> = { 'accept-encoding': 'identity' };
    if (ingest.offset > 0) headers['range'] = `bytes=${ingest.offset}-`;
    let response: RegistryResponse;
    try {
      response = await ask(endpoint, reference, `blobs/${descriptor.digest}`, headers, call);
    } catch (error) {
      // 416 or a proxy that cannot do ranges: what is there may be wrong, so begin again.
      if (ingest.offset > 0 && error instanceof WindlassError && error.details['status'] === 416) {
        await ingest.reset();
        return await receive(endpoint, reference, descriptor, ingest, call);
      }
      throw error;
    }
    const range = /^bytes (\d+)-/.exec(String(response.headers['content-range'] ?? ''));
    const isContinuation = response.status === 206 && Number(range?.[1]) === ingest.offset;
    if (response.status === 206 && !isContinuation) {
      response.body.destroy();
      await ingest.reset();
      throw new Error('the answer is not the range that was asked for');
    }
    if (!isContinuation && ingest.offset > 0) await ingest.reset();
    try {
      for await (const chunk of response.body as AsyncIterable<Buffer>) {
        await ingest.write(chunk);
        call.onProgress?.(ingest.offset);
      }
    } finally {
      response.body.destroy();
    }
  }

  return {
    resolve: (reference, call) =>
      viaEndpoints(reference, call.signal, (endpoint) =>
        getManifest(endpoint, reference, reference.digest ?? reference.tag ?? 'latest', call),
      ),
    readManifest: (reference, descriptor, call) =>
      viaEndpoints(reference, call.signal, async (endpoint) => {
        const { bytes } = await getManifest(endpoint, reference, descriptor.digest, call);
        if (bytes.length === descriptor.size) return bytes;
        const what = `manifest ${descriptor.digest} has ${bytes.length} bytes, its index says ${descriptor.size}`;
        throw new WindlassError('Invalid', what);
      }),
    async fetchBlob(reference, descriptor, store, call) {
      if (store.has(descriptor.digest, descriptor.size)) return;
      // Only one writer per digest; a caller with other credentials joins, since the digest it knows is proof enough.
      await downloads.join(descriptor.digest, call.signal, async (signal) => {
        if (store.has(descriptor.digest, descriptor.size)) return;
        await download(reference, descriptor, store, { ...call, signal });
      });
    },
    close: () => transport.close(),
  };
}

function statusError(
  { status }: RegistryResponse,
  endpoint: Endpoint,
  reference: Reference,
  path: string,
  hasCredentials: boolean,
): WindlassError {
  const host = hostOf(endpoint);
  const name = formatReference(reference);
  const details = { details: { status } };
  if (status === 404) {
    const isManifest = path.startsWith('manifests/');
    const problem = isManifest
      ? `manifest unknown: ${name}`
      : `blob unknown: ${path.slice('blobs/'.length)} of ${name}`;
    return new WindlassError('NotFound', `${problem} is not at registry ${host}`, details);
  }
  if (status === 401) {
    const hint = hasCredentials ? 'the credentials were refused' : 'no credentials were given';
    return new WindlassError('Unauthorized', `registry ${host} refused access to ${name}: ${hint}`, details);
  }
  if (status === 403) return new WindlassError('Forbidden', `registry ${host} refused access to ${name}`, details);
  if (status === 429)
    return new WindlassError('TooManyRequests', `registry ${host} limits requests for ${name}`, details);
  const reason = status >= 500 ? 'Unavailable' : 'Invalid';
  return new WindlassError(reason, `registry ${host} answered ${status} for ${name}`, details);
}

/** Some registries send no useful Content-Type; the document's own mediaType decides then. */
function mediaTypeOf(contentType: string | string[] | undefined, bytes: Buffer): string {
  const sent =
    String(contentType ?? '')
      .split(';')[0]
      ?.trim()
      .toLowerCase() ?? '';
  if (sent.startsWith('application/vnd.')) return sent;
  const own = /"mediaType"\s*:\s*"(application\/vnd\.[^"]+)"/.exec(bytes.toString('latin1', 0, 512))?.[1];
  return own ?? (bytes.includes('"manifests"') ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.ociManifest);
}

function closing(value: Ingest): AsyncDisposable & { readonly value: Ingest } {
  return { value, [Symbol.asyncDispose]: () => value.close() };
}

function hostOf(endpoint: Endpoint): string {
  return new URL(endpoint.origin).host;
}
