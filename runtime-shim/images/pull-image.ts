// One pull: resolve, choose the platform, fetch and unpack all layers at once, in the order
// "bytes first, name last", so that a name never means an image that is not whole.
import { isNotFound, WindlassError } from '../../lib/errors.ts';
import { createLimit } from '../../lib/limit.ts';
import type { ContentStore } from '../../oci/content-store.ts';
import { digestOf, type Digest } from '../../oci/digest.ts';
import type { RegistryCall, RegistryClient } from '../../oci/distribution/registry-client.ts';
import {
  chainIds,
  MANIFEST_LIMITS,
  parseImageConfig,
  type Descriptor,
  type ImageConfig,
  type Manifest,
  type Platform,
} from '../../oci/manifest.ts';
import { isForeignLayer, layerCompression } from '../../oci/media-types.ts';
import { selectManifest } from '../../oci/platform.ts';
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
}

/** Pulls `reference`; the result's names are for the caller to record. */
export async function pullImage(
  parts: PullParts,
  reference: Reference,
  call: RegistryCall,
): Promise<{ image: LoadedImage; names: string[] }> {
  const { store, registry, protect, onProgress } = parts;
  onProgress({ phase: 'Resolving', completedBytes: 0, totalBytes: 0 });
  const top = await registry.resolve(reference, call);
  const bytesOf = new Map<Digest, Buffer>([[top.descriptor.digest, top.bytes]]);
  const read = async (descriptor: Descriptor): Promise<Buffer> => {
    const bytes = bytesOf.get(descriptor.digest) ?? (await registry.readManifest(reference, descriptor, call));
    bytesOf.set(descriptor.digest, bytes);
    return bytes;
  };
  const { descriptor, manifest } = await selectManifest(top.descriptor, read, parts.platform);
  for (const { digest } of [descriptor, manifest.config, ...manifest.layers]) protect(digest);
  if (manifest.layers.some(({ digest, size }) => !store.has(digest, size)))
    parts.layers.prepare(manifest.layers.length);

  await registry.fetchBlob(reference, manifest.config, store, call);
  const config = parseImageConfig(
    await store.read(manifest.config.digest, MANIFEST_LIMITS.configBytes),
    manifest,
    `config ${manifest.config.digest}`,
  );
  await store.put(bytesOf.get(descriptor.digest) as Buffer);
  const image: LoadedImage = { descriptor, manifest, config };
  await fetchLayers(parts, reference, image, call);
  const repository = repositoryName(reference);
  const names = new Set([`${repository}@${top.descriptor.digest}`, `${repository}@${descriptor.digest}`]);
  names.add(formatReference(reference));
  return { image, names: [...names] };
}

async function fetchLayers(
  { store, layers, registry, protect, onProgress }: PullParts,
  reference: Reference,
  image: LoadedImage,
  call: RegistryCall,
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
