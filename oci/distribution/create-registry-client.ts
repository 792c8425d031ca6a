// The OCI distribution protocol: manifests and blobs from a registry or its mirrors, and to a registry.
import { systemClock, type Clock } from '../../lib/clock.ts';
import { isAbort, WindlassError } from '../../lib/errors.ts';
import { digestMismatch, digestOf, isDigest, splitDigest, type Digest } from '../digest.ts';
import { MANIFEST_LIMITS, type Descriptor } from '../manifest.ts';
import { INDEX_TYPES, MANIFEST_TYPES, MEDIA_TYPES } from '../media-types.ts';
import type { Reference } from '../reference.ts';
import { createSharedWork } from '../shared-work.ts';
import { createAuthorizer } from './authorizer.ts';
import { endpointsOf, type Endpoint, type RegistriesConfig } from './registries.ts';
import type { BlobCall, RegistryCall, RegistryClient } from './registry-client.ts';
import { createBlobFetcher, type BlobSource } from './fetch-blob.ts';
import { createImagePeers } from './image-peers.ts';
import { createPeerTransport, type PeerTransport } from './peer-transport.ts';
import { createManifestPusher } from './push-manifest.ts';
import { createBlobPusher } from './push-blob.ts';
import { createRegistryRequests, hostOf, pullScope } from './registry-requests.ts';
import { createTransport, dump, readBody } from './transport.ts';

/** Tries without a single new byte before a download from a registry is given up. */
const MAX_STALLED_TRIES = 4;

export interface RegistryClientOptions {
  readonly registries: RegistriesConfig;
  readonly clock?: Clock;
  readonly timeoutMs?: number;
  readonly retryDelayMs?: number;
  /** PEM of an authority that is trusted beside those of the system. */
  readonly ca?: () => string | undefined;
  /** Told of bytes of images as they come. */
  readonly onReceived?: (source: ImageSource, bytes: number) => void;
}

/** Where bytes of images come from. */
export type ImageSource = 'peer' | 'mirror' | 'registry';

/** Creates a client with its own connections, tokens and running downloads. */
export function createRegistryClient(options: RegistryClientOptions): RegistryClient {
  const { registries, clock = systemClock, timeoutMs = 30_000, retryDelayMs = 200 } = options;
  const transport = createTransport({ clock, timeoutMs, retryDelayMs, ca: options.ca?.() });
  const requests = createRegistryRequests(transport, createAuthorizer(transport));
  const onReceived = options.onReceived ?? ((): void => undefined);
  const fetchFrom = createBlobFetcher({ clock, retryDelayMs });
  const peerTransports = new Map<string, PeerTransport>();
  const pushBlob = createBlobPusher(requests, { clock, retryDelayMs });
  const pushManifest = createManifestPusher(requests);
  const downloads = createSharedWork<void>();

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
    const request = { path: `manifests/${target}`, headers: { accept }, scopes: [pullScope(reference.repository)] };
    const response = await requests.ask(endpoint, reference, request, call);
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

  function blobSource(endpoint: Endpoint, reference: Reference, { digest }: Descriptor, call: BlobCall): BlobSource {
    return {
      name: `registry ${hostOf(endpoint)}`,
      maxStalledTries: MAX_STALLED_TRIES,
      minBytesPerSecond: 0,
      open(offset, signal) {
        const headers: Record<string, string> = { 'accept-encoding': 'identity' };
        if (offset > 0) headers['range'] = `bytes=${offset}-`;
        const request = { path: `blobs/${digest}`, headers, scopes: [pullScope(reference.repository)] };
        return requests.ask(endpoint, reference, request, { ...call, signal });
      },
      onReceived: (bytes) => onReceived(endpoint.isMirror ? 'mirror' : 'registry', bytes),
    };
  }

  async function currentDigest(
    endpoint: Endpoint,
    reference: Reference,
    call: RegistryCall,
  ): Promise<Digest | undefined> {
    const response = await requests.ask(
      endpoint,
      reference,
      {
        method: 'HEAD',
        path: `manifests/${reference.digest ?? reference.tag ?? 'latest'}`,
        headers: { accept: [...MANIFEST_TYPES, ...INDEX_TYPES].join(', ') },
        scopes: [pullScope(reference.repository)],
        // Not every registry answers it.
        accept: [405],
      },
      call,
    );
    await dump(response.body);
    const claimed = response.status === 405 ? undefined : response.headers['docker-content-digest'];
    return isDigest(claimed) ? claimed : undefined;
  }

  return {
    currentDigest: (reference, call) =>
      viaEndpoints(reference, call.signal, (endpoint) => currentDigest(endpoint, reference, call)),
    async peersFor({ socket, ...source }) {
      const known = peerTransports.get(socket) ?? createPeerTransport(socket);
      peerTransports.set(socket, known);
      return createImagePeers({ transport: known, clock }, source, (bytes) => onReceived('peer', bytes));
    },
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
        const own = { ...call, signal };
        const isHere = await call.peers?.fetch(descriptor, signal, (source) =>
          fetchFrom(source, descriptor, store, own),
        );
        if (isHere) return;
        await viaEndpoints(reference, signal, (endpoint) =>
          fetchFrom(blobSource(endpoint, reference, descriptor, own), descriptor, store, own),
        );
      });
    },
    pushBlob: (reference, descriptor, store, call) =>
      pushBlob(registryItself(reference), reference, descriptor, store, call),
    pushManifest: (reference, descriptor, bytes, call) =>
      pushManifest(registryItself(reference), reference, descriptor, bytes, call),
    async close() {
      await Promise.all([transport, ...peerTransports.values()].map((one) => one.close()));
    },
  };

  /** A mirror is a copy: what is pushed goes to the registry. */
  function registryItself({ registry }: Reference): Endpoint {
    return endpointsOf(registry, registries).at(-1) as Endpoint;
  }
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
