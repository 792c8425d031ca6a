// The images of this node as they are listed: the content store's index with the documents its entries name. Every
// change is on disk when it is seen.
import { messageOf, WindlassError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { ContentStore } from '../../oci/content-store.ts';
import type { Digest } from '../../oci/digest.ts';
import { MANIFEST_LIMITS, parseImageConfig, parseManifest, type Descriptor } from '../../oci/manifest.ts';
import { addNames, buildRecords, entryName, findRecord, hasNames, type LoadedImage } from './image-index.ts';
import type { ImageRecord } from './image-service.ts';

export interface ImageTable {
  /** The images that have a name, or are kept without one. */
  readonly images: ReadonlyMap<Digest, LoadedImage>;
  records(): readonly ImageRecord[];
  find(text: string): ImageRecord | undefined;
  /** NotFound when there is no such image. */
  mustFind(text: string): ImageRecord;
  loadedOf(record: ImageRecord): LoadedImage;
  /** Gives `image` these names; with none it is kept without a name. */
  name(image: LoadedImage, names: readonly string[]): ImageRecord;
  change(change: (entries: readonly Descriptor[]) => readonly Descriptor[]): void;
  /** Reads every image of the index; those that are damaged are dropped. */
  recover(): Promise<void>;
}

/** An empty table; recover() fills it. `pinned` are references in normal form. */
export function createImageTable(store: ContentStore, log: Logger, pinned: readonly string[]): ImageTable {
  const images = new Map<Digest, LoadedImage>();
  let records: readonly ImageRecord[] = [];

  function change(edit: (entries: readonly Descriptor[]) => readonly Descriptor[]): void {
    store.updateIndex(edit);
    const named = new Set(store.index().map(({ digest }) => digest));
    for (const digest of images.keys()) if (!named.has(digest)) images.delete(digest);
    records = buildRecords(store.index(), images, pinned);
  }

  const recordOf = ({ manifest }: LoadedImage): ImageRecord =>
    records.find(({ id }) => id === manifest.config.digest) as ImageRecord;

  function name(image: LoadedImage, names: readonly string[]): ImageRecord {
    // Named so already: nothing has to reach the disk.
    if (images.has(image.descriptor.digest) && hasNames(store.index(), image.descriptor, names)) return recordOf(image);
    images.set(image.descriptor.digest, image);
    try {
      change((entries) => addNames(entries, image.descriptor, names));
    } catch (error) {
      // Without a name on disk it is not an image of this node, and its bytes may go.
      if (!store.index().some(({ digest }) => digest === image.descriptor.digest))
        images.delete(image.descriptor.digest);
      throw error;
    }
    return recordOf(image);
  }

  function mustFind(text: string): ImageRecord {
    const record = findRecord(records, text);
    if (!record) throw new WindlassError('NotFound', `image ${text} is not on this node`);
    return record;
  }

  function loadedOf(record: ImageRecord): LoadedImage {
    const image = [...images.values()].find(({ manifest }) => manifest.config.digest === record.id);
    if (!image) throw new WindlassError('NotFound', `image ${record.id} is not on this node`);
    return image;
  }

  return {
    images,
    records: () => records,
    find: (text) => findRecord(records, text),
    mustFind,
    loadedOf,
    name,
    change,
    async recover() {
      const broken = new Set<Digest>();
      for (const entry of store.index()) {
        if (images.has(entry.digest) || broken.has(entry.digest)) continue;
        try {
          images.set(entry.digest, await loadImage(store, entry));
        } catch (error) {
          broken.add(entry.digest);
          log.warn({ image: entryName(entry), digest: entry.digest, err: messageOf(error) }, 'dropped a damaged image');
        }
      }
      if (broken.size > 0) change((entries) => entries.filter(({ digest }) => !broken.has(digest)));
      records = buildRecords(store.index(), images, pinned);
    },
  };
}

/** Reads an image whose blobs are in the store. */
export async function loadImage(store: ContentStore, descriptor: Descriptor): Promise<LoadedImage> {
  const what = `manifest ${descriptor.digest}`;
  const parsed = parseManifest(
    await store.read(descriptor.digest, MANIFEST_LIMITS.manifestBytes),
    descriptor.mediaType,
    what,
  );
  if (parsed.kind !== 'manifest') throw new WindlassError('Invalid', `invalid ${what}: is an index`);
  const { manifest } = parsed;
  const bytes = await store.read(manifest.config.digest, MANIFEST_LIMITS.configBytes);
  return { descriptor, manifest, config: parseImageConfig(bytes, manifest, `config ${manifest.config.digest}`) };
}
