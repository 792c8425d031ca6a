// One blob to a registry: not at all when it is there, from another repository when that has it, else uploaded: in one
// request when it is small, in chunks that can go on after a broken connection when it is not.
import { createReadStream } from 'node:fs';
import { backoffDelayMs } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { ContentStore } from '../content-store.ts';
import type { Descriptor } from '../manifest.ts';
import type { Reference } from '../reference.ts';
import { isLoopback, type Endpoint } from './registries.ts';
import type { PushBlobCall, PushedBlob } from './registry-client.ts';
import { hostOf, pullScope, pushScope, type RegistryRequests } from './registry-requests.ts';
import { dump, type RegistryResponse } from './transport.ts';

const CHUNK_BYTES = 16 * 1024 * 1024;
/** Largest chunk that is accepted when a registry asks for a minimum. */
const MAX_CHUNK_BYTES = 512 * 1024 * 1024;
const MAX_STALLED_TRIES = 4;
/** Repositories that are asked to share a blob before it is uploaded after all. */
const MAX_MOUNT_SOURCES = 3;

export type BlobPusher = (
  endpoint: Endpoint,
  reference: Reference,
  descriptor: Descriptor,
  store: ContentStore,
  call: PushBlobCall,
) => Promise<PushedBlob>;

interface Upload {
  readonly location: URL;
  readonly chunkBytes: number;
}

/** A pusher of blobs. */
export function createBlobPusher(
  requests: RegistryRequests,
  { clock, retryDelayMs }: { readonly clock: Clock; readonly retryDelayMs: number },
): BlobPusher {
  return async (endpoint, reference, descriptor, store, call) => {
    const scopes = [pushScope(reference.repository)];
    const ask: Ask = (request) => requests.ask(endpoint, reference, { headers: {}, scopes, ...request }, call);
    const { digest, size } = descriptor;
    const head = await ask({ method: 'HEAD', path: `blobs/${digest}`, accept: [404] });
    await dump(head.body);
    if (head.status !== 404) {
      call.onProgress?.(size);
      return 'exists';
    }
    const mounted = await mount(ask, endpoint, reference, descriptor, call.mountFrom);
    if (mounted === 'mounted') {
      call.onProgress?.(size);
      return 'mounted';
    }
    await call.prepare?.();
    const upload = mounted ?? startedUpload(await ask({ method: 'POST', path: 'blobs/uploads/' }), endpoint);
    await sendBlob(ask, endpoint, descriptor, store, upload, call);
    return 'uploaded';
  };

  async function sendBlob(
    ask: Ask,
    endpoint: Endpoint,
    { digest, size }: Descriptor,
    store: ContentStore,
    first: Upload,
    call: PushBlobCall,
  ): Promise<void> {
    const path = store.blobPath(digest);
    let upload = first;
    let offset = 0;
    let stalled = 0;
    for (;;) {
      const before = offset;
      try {
        if (size > upload.chunkBytes) {
          while (offset < size) {
            const end = Math.min(offset + upload.chunkBytes, size);
            upload = await sendChunk(ask, endpoint, upload, path, offset, end);
            offset = end;
            call.onProgress?.(offset);
          }
        }
        await finish(ask, upload, digest, path, offset, size);
        call.onProgress?.(size);
        return;
      } catch (error) {
        if (call.signal.aborted) throw call.signal.reason;
        if (!canGoOn(error)) throw error;
        stalled = offset > before ? 1 : stalled + 1;
        if (stalled >= MAX_STALLED_TRIES) throw error;
        const delayMs = backoffDelayMs(stalled, { initialMs: retryDelayMs, maxMs: 4000, jitter: 0.2 });
        await clock.sleep(delayMs, call.signal);
        const resumed = await findUpload(ask, endpoint, upload);
        upload = resumed?.upload ?? startedUpload(await ask({ method: 'POST', path: 'blobs/uploads/' }), endpoint);
        // A registry that forgot the upload, or has something that is not ours, gets it from the start.
        offset = resumed !== undefined && resumed.offset <= size ? resumed.offset : 0;
      }
    }
  }
}

type Ask = (
  request: Omit<Parameters<RegistryRequests['ask']>[2], 'headers' | 'scopes'> &
    Partial<Pick<Parameters<RegistryRequests['ask']>[2], 'headers' | 'scopes'>>,
) => Promise<RegistryResponse>;

/**
 * Asks for the blob out of another repository. A registry that does not share it answers with an upload, which is used
 * when it was the last to be asked.
 */
async function mount(
  ask: Ask,
  endpoint: Endpoint,
  reference: Reference,
  { digest }: Descriptor,
  sources: readonly string[],
): Promise<'mounted' | Upload | undefined> {
  let upload: Upload | undefined;
  for (const source of sources.slice(0, MAX_MOUNT_SOURCES)) {
    if (source === reference.repository) continue;
    if (upload) await cancel(ask, upload);
    upload = undefined;
    const query = new URLSearchParams({ mount: digest, from: source });
    // Reading the source needs a right of its own; a registry that does not give it just gets the bytes.
    const response = await ask({
      method: 'POST',
      path: `blobs/uploads/?${query}`,
      scopes: [pushScope(reference.repository), pullScope(source)],
      accept: [401, 403, 404],
    });
    if (response.status === 201) {
      await dump(response.body);
      return 'mounted';
    }
    if (response.status === 202) upload = startedUpload(response, endpoint);
    await dump(response.body);
  }
  return upload;
}

/** Nobody waits for it: a registry drops old uploads by itself. */
async function cancel(ask: Ask, { location }: Upload): Promise<void> {
  const response = await ask({ method: 'DELETE', path: location, accept: [400, 404, 405] });
  await dump(response.body);
}

async function sendChunk(
  ask: Ask,
  endpoint: Endpoint,
  upload: Upload,
  path: string,
  start: number,
  end: number,
): Promise<Upload> {
  const response = await ask({
    method: 'PATCH',
    path: upload.location,
    headers: {
      'content-type': 'application/octet-stream',
      'content-length': String(end - start),
      'content-range': `${start}-${end - 1}`,
    },
    body: () => createReadStream(path, { start, end: end - 1, highWaterMark: 1024 * 1024 }),
    isSingleTry: true,
  });
  await dump(response.body);
  return { ...upload, location: locationOf(response, endpoint, upload.location) };
}

/** Closes the upload; what was not sent in chunks goes along. */
async function finish(
  ask: Ask,
  { location }: Upload,
  digest: string,
  path: string,
  offset: number,
  size: number,
): Promise<void> {
  const target = new URL(location);
  target.searchParams.set('digest', digest);
  const isEmpty = offset === size;
  const response = await ask({
    method: 'PUT',
    path: target,
    headers: { 'content-type': 'application/octet-stream', 'content-length': String(size - offset) },
    ...(isEmpty ? {} : { body: () => createReadStream(path, { start: offset, highWaterMark: 1024 * 1024 }) }),
    isSingleTry: true,
  });
  await dump(response.body);
}

/** Where an upload stands after a failure; undefined when the registry no longer knows it, or cannot say. */
async function findUpload(
  ask: Ask,
  endpoint: Endpoint,
  upload: Upload,
): Promise<{ upload: Upload; offset: number } | undefined> {
  const response = await ask({ path: upload.location, accept: [400, 404, 405, 416] });
  await dump(response.body);
  const range = /^(?:bytes=)?0-([0-9]{1,15})$/.exec(String(response.headers['range'] ?? ''));
  if (response.status !== 204 || !range) return undefined;
  const last = Number(range[1]);
  // `0-0` is what registries say for one byte and for none; a chunk of one byte is never sent.
  const offset = last === 0 ? 0 : last + 1;
  return { upload: { ...upload, location: locationOf(response, endpoint, upload.location) }, offset };
}

function startedUpload(response: RegistryResponse, endpoint: Endpoint): Upload {
  const minimum = Number(response.headers['oci-chunk-min-length'] ?? 0);
  const chunkBytes = Number.isSafeInteger(minimum)
    ? Math.min(Math.max(CHUNK_BYTES, minimum), MAX_CHUNK_BYTES)
    : CHUNK_BYTES;
  response.body.resume();
  return { location: locationOf(response, endpoint), chunkBytes };
}

/** A registry may name another host for its uploads, but not one without TLS when it has TLS itself. */
function locationOf(response: RegistryResponse, endpoint: Endpoint, before?: URL): URL {
  const header = response.headers['location'];
  if (typeof header !== 'string') {
    if (before) return before;
    throw new WindlassError('Invalid', `registry ${hostOf(endpoint)} starts an upload without saying where`);
  }
  const location = URL.canParse(header, endpoint.origin) ? new URL(header, endpoint.origin) : undefined;
  if (!location || !['http:', 'https:'].includes(location.protocol)) {
    throw new WindlassError('Invalid', `registry ${hostOf(endpoint)} names an invalid upload address`);
  }
  const isDowngrade = location.protocol === 'http:' && location.origin !== endpoint.origin;
  if (isDowngrade && !(isLoopback(location.hostname) && isLoopback(new URL(endpoint.origin).hostname))) {
    const message = `registry ${hostOf(endpoint)} names an upload address without TLS (${location.host}): refused`;
    throw new WindlassError('Forbidden', message);
  }
  location.username = '';
  location.password = '';
  return location;
}

/** A broken connection, an overloaded registry, or one whose idea of the upload differs from ours. */
function canGoOn(error: unknown): boolean {
  if (!(error instanceof WindlassError)) return false;
  return ['Unavailable', 'TooManyRequests', 'NotFound'].includes(error.reason) || error.details['status'] === 416;
}
