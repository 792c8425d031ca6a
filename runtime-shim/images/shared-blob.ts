// Which blobs of the content store others may have: those of images, once the whole image is here.
import type { ContentStore } from '../../oci/content-store.ts';
import { isDigest, type Digest } from '../../oci/digest.ts';
import type { Descriptor } from '../../oci/manifest.ts';
import { isForeignLayer } from '../../oci/media-types.ts';
import type { LoadedImage } from './image-index.ts';

export interface SharedBlob {
  readonly path: string;
  readonly sizeBytes: number;
  readonly mediaType: string;
}

/** The manifest, configuration or layer of one of `images`; undefined for anything else, and for foreign layers. */
export function findSharedBlob(
  store: ContentStore,
  images: ReadonlyMap<Digest, LoadedImage>,
  digest: string,
): SharedBlob | undefined {
  if (!isDigest(digest)) return undefined;
  const named = images.get(digest)?.descriptor ?? partOf(images.values(), digest);
  if (!named || isForeignLayer(named.mediaType) || !store.has(digest, named.size)) return undefined;
  return { path: store.blobPath(digest), sizeBytes: named.size, mediaType: named.mediaType };
}

function partOf(images: Iterable<LoadedImage>, digest: Digest): Descriptor | undefined {
  for (const { manifest } of images) {
    const found = [manifest.config, ...manifest.layers].find((part) => part.digest === digest);
    if (found) return found;
  }
  return undefined;
}
