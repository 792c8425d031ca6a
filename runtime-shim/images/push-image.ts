// One push: every blob the registry lacks, several at once, then the manifest. Layers that are plain tars go compressed,
// under a manifest that says so; everything else as it is, byte for byte.
import { WindlassError } from '../../lib/errors.ts';
import { createLimit } from '../../lib/limit.ts';
import type { ContentStore } from '../../oci/content-store.ts';
import { digestOf, type Digest } from '../../oci/digest.ts';
import type { PushedBlob, RegistryCall, RegistryClient } from '../../oci/distribution/registry-client.ts';
import { MANIFEST_LIMITS, type Descriptor } from '../../oci/manifest.ts';
import { isForeignLayer } from '../../oci/media-types.ts';
import { formatReference, parseReference, type Reference } from '../../oci/reference.ts';
import { isPlainLayer, type CompressedLayers } from './compressed-layers.ts';
import { entryName, type LoadedImage } from './image-index.ts';
import type { PushProgress } from './image-service.ts';

/** Blobs uploaded at a time. */
const PARALLEL_UPLOADS = 4;

export interface PushParts {
  readonly store: ContentStore;
  readonly registry: RegistryClient;
  readonly compressed: CompressedLayers;
  /** Every image of the node, to know which repositories may have a blob already. */
  readonly images: ReadonlyMap<Digest, LoadedImage>;
  readonly protect: (digest: string) => void;
  readonly onProgress: (progress: PushProgress) => void;
}

type LayerProgress = PushProgress['layers'][number];

/** Pushes `image` as `reference`; gives the manifest's digest. Throws Invalid when another digest is asked for. */
export async function pushImage(
  parts: PushParts,
  image: LoadedImage,
  reference: Reference,
  call: RegistryCall,
): Promise<Digest> {
  const { store, registry, images, onProgress } = parts;
  const { descriptor, manifest } = image;
  const isCompressing = mustCompress(image, store.index()) && reference.digest !== descriptor.digest;
  if (reference.digest !== undefined && reference.digest !== descriptor.digest && !isCompressing) {
    throw new WindlassError('Invalid', `cannot push ${descriptor.digest} as ${formatReference(reference)}`);
  }
  const bytes = await store.read(descriptor.digest, MANIFEST_LIMITS.manifestBytes);
  // Equal layers are one blob. Foreign ones are not ours to copy, and a registry does not ask for them.
  const wanted = [...manifest.layers, manifest.config].filter(({ mediaType }) => !isForeignLayer(mediaType));
  const blobs = [...new Map(wanted.map((blob) => [blob.digest, blob])).values()];
  const states = new Map<Digest, LayerProgress>(
    blobs.map(({ digest, size }) => [digest, { digest, state: 'Waiting', completedBytes: 0, totalBytes: size }]),
  );
  const report = (phase: PushProgress['phase']): void => {
    const layers = [...states.values()];
    const completedBytes = layers.reduce((sum, layer) => sum + layer.completedBytes, 0);
    const totalBytes = layers.reduce((sum, layer) => sum + layer.totalBytes, 0);
    onProgress({ phase, completedBytes, totalBytes, layers });
  };
  report('Pushing');
  const limit = createLimit(PARALLEL_UPLOADS);
  const stop = new AbortController();
  const signal = AbortSignal.any([call.signal, stop.signal]);
  const push = async (blob: Descriptor): Promise<readonly [Digest, Descriptor]> => {
    const set = ({ digest, size }: Descriptor, state: LayerProgress['state'], completedBytes: number): void => {
      states.set(blob.digest, { digest, state, completedBytes, totalBytes: size });
      report('Pushing');
    };
    if (isCompressing && isPlainLayer(blob)) set(blob, 'Compressing', 0);
    const pushed = isCompressing ? await parts.compressed.pushed(blob, parts.protect, signal) : blob;
    const result = await registry.pushBlob(reference, pushed, store, {
      ...call,
      signal,
      mountFrom: repositoriesWith(pushed.digest, store.index(), images, reference),
      prepare: () => parts.compressed.ensure(blob, pushed, signal),
      onProgress: (completedBytes) => set(pushed, 'Pushing', completedBytes),
    });
    set(pushed, STATES[result], pushed.size);
    return [blob.digest, pushed];
  };
  let pushed: ReadonlyMap<Digest, Descriptor>;
  try {
    pushed = new Map(await Promise.all(blobs.map((blob) => limit(blob.size, signal, () => push(blob)))));
  } catch (error) {
    // The others are of no use without this one; the first failure is the one to tell.
    stop.abort(error);
    throw error;
  }
  const top = isCompressing ? withLayers(descriptor, bytes, pushed) : { descriptor, bytes };
  if (reference.digest !== undefined && reference.digest !== top.descriptor.digest) {
    throw new WindlassError('Invalid', `cannot push ${top.descriptor.digest} as ${formatReference(reference)}`);
  }
  await registry.pushManifest(reference, top.descriptor, top.bytes, call);
  report('Done');
  return top.descriptor.digest;
}

const STATES = { exists: 'Exists', mounted: 'Mounted', uploaded: 'Pushed' } as const satisfies Record<
  PushedBlob,
  LayerProgress['state']
>;

/** A registry that gave the image this digest has it in this form: it stays what it is. */
function mustCompress({ descriptor, manifest }: LoadedImage, entries: readonly Descriptor[]): boolean {
  if (!manifest.layers.some(isPlainLayer)) return false;
  return !entries.some((entry) => entry.digest === descriptor.digest && entryName(entry)?.endsWith(`@${entry.digest}`));
}

/** The manifest with `pushed` for its layers; what else it says stays, in the same order. */
function withLayers(
  { mediaType }: Descriptor,
  bytes: Buffer,
  pushed: ReadonlyMap<Digest, Descriptor>,
): { descriptor: Descriptor; bytes: Buffer } {
  const document = JSON.parse(bytes.toString('utf8')) as { layers: Descriptor[] };
  const layers = document.layers.map((layer) => {
    const { mediaType, digest, size } = pushed.get(layer.digest) ?? layer;
    return { ...layer, mediaType, digest, size };
  });
  const changed = Buffer.from(JSON.stringify({ ...document, layers }));
  return { descriptor: { mediaType, digest: digestOf(changed), size: changed.length }, bytes: changed };
}

/** Other repositories of the registry of `reference` by whose names an image with this blob is known here. */
function repositoriesWith(
  digest: Digest,
  entries: readonly Descriptor[],
  images: ReadonlyMap<Digest, LoadedImage>,
  { registry, repository }: Reference,
): string[] {
  const found = new Set<string>();
  for (const entry of entries) {
    const manifest = images.get(entry.digest)?.manifest;
    const hasBlob = manifest?.config.digest === digest || manifest?.layers.some((layer) => layer.digest === digest);
    const name = hasBlob ? entryName(entry) : undefined;
    if (name === undefined) continue;
    const known = parseReference(name);
    // A name by digest was given by this registry; a tag may be only what the user calls the image here.
    if (known.registry !== registry || known.repository === repository) continue;
    found.add(known.repository);
  }
  return [...found].toSorted();
}
