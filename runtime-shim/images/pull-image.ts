// One pull: resolve, choose the platform, fetch and unpack all layers at once, in the order
// "bytes first, name last", so that a name never means an image that is not whole.
import { isNotFound, messageOf, WindlassError } from '../../lib/errors.ts';
import { createLimit } from '../../lib/limit.ts';
import type { Logger } from '../../lib/log.ts';
import type { ContentStore } from '../../oci/content-store.ts';
import { digestOf, type Digest } from '../../oci/digest.ts';
import type { BlobCall, PeerSource, RegistryCall, RegistryClient } from '../../oci/distribution/registry-client.ts';
import {
  chainIds,
  MANIFEST_LIMITS,
  parseImageConfig,
  parseManifest,
  type Descriptor,
  type ImageConfig,
  type Manifest,
  type Platform,
} from '../../oci/manifest.ts';
import { isForeignLayer, layerCompression, MEDIA_TYPES } from '../../oci/media-types.ts';
import { platformName, platformScore, selectManifest } from '../../oci/platform.ts';
import { formatReference, repositoryName, type Reference } from '../../oci/reference.ts';
import type { LayerSource, LayerStore } from '../snapshots/layer-store.ts';
import type { LoadedImage } from './image-index.ts';
import type { PullProgress } from './image-service.ts';

/** Layers downloaded at a time. */
const PARALLEL_DOWNLOADS = 4;

export interface PullParts {
  readonly store: ContentStore;
  readonly layers: LayerStore;
  readonly registry: RegistryClient;
  readonly platform: Platform;
  readonly protect: (digest: string) => void;
  readonly onProgress: (progress: PullProgress) => void;
  readonly log: Logger;
}

export interface PullCall extends RegistryCall {
  /** Other nodes, asked before the registry. */
  readonly peers?: PeerSource | undefined;
}

/** A manifest, as it was found, with the document that led to it. */
interface Found {
  readonly descriptor: Descriptor;
  readonly manifest: Manifest;
  readonly bytes: Buffer;
  /** What the reference means: the manifest, or an index above it. */
  readonly top: Digest;
}

/** Pulls `reference`; the result's names are for the caller to record. */
export async function pullImage(
  parts: PullParts,
  reference: Reference,
  call: PullCall,
): Promise<{ image: LoadedImage; names: string[] }> {
  parts.onProgress({ phase: 'Resolving', completedBytes: 0, totalBytes: 0 });
  const source = call.peers;
  if (source?.digest !== undefined) {
    try {
      return await pullKnown(parts, reference, { ...source, digest: source.digest }, call);
    } catch (error) {
      if (source.only || call.signal.aborted) throw error;
      const name = formatReference(reference);
      parts.log.info({ image: name, digest: source.digest, err: messageOf(error) }, 'the registry is asked instead');
    }
  }
  const found = await resolve(parts, reference, call);
  const peers = source && (await parts.registry.peersFor({ ...source, digest: found.descriptor.digest }));
  const image = await fetchImage(parts, reference, found, { ...call, peers });
  const repository = repositoryName(reference);
  const names = [`${repository}@${found.top}`, `${repository}@${found.descriptor.digest}`, formatReference(reference)];
  return { image, names: [...new Set(names)] };
}

async function resolve({ registry, platform }: PullParts, reference: Reference, call: RegistryCall): Promise<Found> {
  const top = await registry.resolve(reference, call);
  const bytesOf = new Map<Digest, Buffer>([[top.descriptor.digest, top.bytes]]);
  const read = async (descriptor: Descriptor): Promise<Buffer> => {
    const bytes = bytesOf.get(descriptor.digest) ?? (await registry.readManifest(reference, descriptor, call));
    bytesOf.set(descriptor.digest, bytes);
    return bytes;
  };
  const selected = await selectManifest(top.descriptor, read, platform);
  return { ...selected, bytes: bytesOf.get(selected.descriptor.digest) as Buffer, top: top.descriptor.digest };
}

/** What the reference means is known, so that another node can send the manifest as well. */
async function pullKnown(
  parts: PullParts,
  reference: Reference,
  source: PeerSource & { readonly digest: Digest },
  call: RegistryCall,
): Promise<{ image: LoadedImage; names: string[] }> {
  const { registry, platform } = parts;
  const { digest, only } = source;
  const peers = await registry.peersFor(source);
  const { bytes, mediaType = MEDIA_TYPES.ociManifest } = await peers.manifest(call.signal);
  const parsed = parseManifest(bytes, mediaType, `manifest ${digest}`);
  if (parsed.kind !== 'manifest') throw new WindlassError('Invalid', `invalid manifest ${digest}: is an index`);
  const { manifest } = parsed;
  const descriptor = { mediaType: parsed.mediaType, digest, size: bytes.length };
  const found = { descriptor, manifest, bytes, top: digest };
  // Nodes of another kind may have pulled another manifest of the same index.
  const check = (config: ImageConfig): void => {
    if (only || platformScore(config, platform) > 0) return;
    throw new WindlassError('NotFound', `${digest} is for ${platformName(config)}`);
  };
  const image = await fetchImage(parts, reference, found, { ...call, peers }, check);
  // A registry that never heard of it gave it no name by digest.
  const names = [...(only ? [] : [`${repositoryName(reference)}@${digest}`]), formatReference(reference)];
  return { image, names };
}

/** All that a manifest names, fetched and unpacked. */
async function fetchImage(
  parts: PullParts,
  reference: Reference,
  { descriptor, manifest, bytes }: Found,
  call: BlobCall,
  check?: (config: ImageConfig) => void,
): Promise<LoadedImage> {
  const { store, registry, protect } = parts;
  for (const { digest } of [descriptor, manifest.config, ...manifest.layers]) protect(digest);
  if (manifest.layers.some(({ digest, size }) => !store.has(digest, size)))
    parts.layers.prepare(manifest.layers.length);
  await registry.fetchBlob(reference, manifest.config, store, call);
  const config = parseImageConfig(
    await store.read(manifest.config.digest, MANIFEST_LIMITS.configBytes),
    manifest,
    `config ${manifest.config.digest}`,
  );
  check?.(config);
  await store.put(bytes);
  const image: LoadedImage = { descriptor, manifest, config };
  await fetchLayers(parts, reference, image, call);
  return image;
}

async function fetchLayers(
  { store, layers, registry, protect, onProgress }: PullParts,
  reference: Reference,
  image: LoadedImage,
  call: BlobCall,
): Promise<void> {
  const { manifest } = image;
  const totalBytes = [...new Map(manifest.layers.map(({ digest, size }) => [digest, size])).values()].reduce(
    (sum, size) => sum + size,
    0,
  );
  const completed = new Map<Digest, number>();
  const report = (): void => {
    const completedBytes = [...completed.values()].reduce((sum, bytes) => sum + bytes, 0);
    onProgress({ phase: completedBytes < totalBytes ? 'Pulling' : 'Unpacking', completedBytes, totalBytes });
  };
  const limit = createLimit(PARALLEL_DOWNLOADS);
  const fetch = async (layer: Descriptor, signal: AbortSignal): Promise<string> => {
    await limit(layer.size, signal, async () => {
      const onProgress = (bytes: number): void => {
        completed.set(layer.digest, bytes);
        report();
      };
      await namingForeign(layer, registry.fetchBlob(reference, layer, store, { ...call, signal, onProgress }));
      onProgress(layer.size);
    });
    return store.blobPath(layer.digest);
  };
  const sources = layerSources(image, (layer, signal) => fetch(layer, signal));
  for (const { chainId } of sources) protect(chainId);
  report();
  await layers.ensure(sources, call.signal);
  // A layer that was unpacked before may lack its blob, which pushing and sharing need.
  const missing = manifest.layers.filter(({ digest, size }) => !store.has(digest, size));
  await Promise.all(missing.map((layer) => fetch(layer, call.signal)));
  onProgress({ phase: 'Done', completedBytes: totalBytes, totalBytes });
}

/** Where a foreign layer's own URLs lead is its author's choice: it comes from the registry, or not at all. */
async function namingForeign(layer: Descriptor, fetching: Promise<void>): Promise<void> {
  try {
    await fetching;
  } catch (error) {
    if (!isForeignLayer(layer.mediaType) || !isNotFound(error)) throw error;
    const message = `layer ${layer.digest} is foreign (${layer.mediaType}) and not at the registry: not supported`;
    throw new WindlassError('NotFound', message, { cause: error });
  }
}

/** Layers with what they unpack to; an image is one of these. */
export interface LayerStack {
  readonly manifest: Pick<Manifest, 'layers'>;
  readonly config: Pick<ImageConfig, 'rootfs'>;
}

/** The layers of an image as the layer store wants them, lowest first. */
export function layerSources(
  { manifest, config }: LayerStack,
  fetch: (layer: Descriptor, signal: AbortSignal) => Promise<string>,
): LayerSource[] {
  const diffIds = config.rootfs.diff_ids;
  const chain = chainIds(diffIds, digestOf);
  return manifest.layers.map((layer, index) => ({
    chainId: chain[index] as Digest,
    diffId: diffIds[index] as Digest,
    digest: layer.digest,
    sizeBytes: layer.size,
    compression: layerCompression(layer.mediaType) ?? 'none',
    fetch: (signal) => fetch(layer, signal),
  }));
}
