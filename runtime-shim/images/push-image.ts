// One push: every blob the registry lacks, several at once, then the manifest as it is.
import { WindlassError } from '../../lib/errors.ts';
import { createLimit } from '../../lib/limit.ts';
import type { ContentStore } from '../../oci/content-store.ts';
import type { Digest } from '../../oci/digest.ts';
import type { PushedBlob, RegistryCall, RegistryClient } from '../../oci/distribution/registry-client.ts';
import { MANIFEST_LIMITS, type Descriptor } from '../../oci/manifest.ts';
import { isForeignLayer } from '../../oci/media-types.ts';
import { formatReference, parseReference, type Reference } from '../../oci/reference.ts';
import { entryName, type LoadedImage } from './image-index.ts';
import type { PushProgress } from './image-service.ts';

/** Blobs uploaded at a time. */
const PARALLEL_UPLOADS = 4;

export interface PushParts {
  readonly store: ContentStore;
  readonly registry: RegistryClient;
  /** Every image of the node, to know which repositories may have a blob already. */
  readonly images: ReadonlyMap<Digest, LoadedImage>;
  readonly onProgress: (progress: PushProgress) => void;
}

/** Pushes `image` as `reference`. Throws Invalid when a digest is asked for that is not the image's own. */
export async function pushImage(
  { store, registry, images, onProgress }: PushParts,
  image: LoadedImage,
  reference: Reference,
  call: RegistryCall,
): Promise<void> {
  const { descriptor, manifest } = image;
  if (reference.digest !== undefined && reference.digest !== descriptor.digest) {
    throw new WindlassError('Invalid', `cannot push ${descriptor.digest} as ${formatReference(reference)}`);
  }
  const bytes = await store.read(descriptor.digest, MANIFEST_LIMITS.manifestBytes);
  // Equal layers are one blob. Foreign ones are not ours to copy, and a registry does not ask for them.
  const wanted = [...manifest.layers, manifest.config].filter(({ mediaType }) => !isForeignLayer(mediaType));
  const blobs = [...new Map(wanted.map((blob) => [blob.digest, blob])).values()];
  const layers = new Map<Digest, PushProgress['layers'][number]>(
    blobs.map(({ digest, size }) => [digest, { digest, state: 'Waiting', completedBytes: 0, totalBytes: size }]),
  );
  const report = (phase: PushProgress['phase']): void => {
    const all = [...layers.values()];
    const completedBytes = all.reduce((sum, layer) => sum + layer.completedBytes, 0);
    const totalBytes = all.reduce((sum, layer) => sum + layer.totalBytes, 0);
    onProgress({ phase, completedBytes, totalBytes, layers: all });
  };
  const set = (blob: Descriptor, state: PushProgress['layers'][number]['state'], completedBytes: number): void => {
    layers.set(blob.digest, { digest: blob.digest, state, completedBytes, totalBytes: blob.size });
    report('Pushing');
  };
  report('Pushing');
  const limit = createLimit(PARALLEL_UPLOADS);
  const stop = new AbortController();
  const signal = AbortSignal.any([call.signal, stop.signal]);
  const push = async (blob: Descriptor): Promise<void> => {
    const mountFrom = repositoriesWith(blob.digest, store.index(), images, reference);
    const onBytes = (completedBytes: number): void => set(blob, 'Pushing', completedBytes);
    const result = await registry.pushBlob(reference, blob, store, { ...call, signal, mountFrom, onProgress: onBytes });
    set(blob, STATES[result], blob.size);
  };
  try {
    await Promise.all(blobs.map((blob) => limit(blob.size, signal, () => push(blob))));
  } catch (error) {
    // The others are of no use without this one; the first failure is the one to tell.
    stop.abort(error);
    throw error;
  }
  await registry.pushManifest(reference, descriptor, bytes, call);
  report('Done');
}

const STATES = { exists: 'Exists', mounted: 'Mounted', uploaded: 'Pushed' } as const satisfies Record<
  PushedBlob,
  PushProgress['layers'][number]['state']
>;

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
