// Layers that are stored as plain tars, as registries want them: gzip. What a layer became is remembered, so that the same
// manifest is pushed each time, and nothing is compressed to learn that a registry has it. The bytes themselves lie in the
// content store until the next sweep.
import { createReadStream, readFileSync } from 'node:fs';
import { constants, createGzip } from 'node:zlib';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { createLimit } from '../../lib/limit.ts';
import { replaceFile } from '../../lib/replace-file.ts';
import type { ContentStore } from '../../oci/content-store.ts';
import { isDigest, type Digest } from '../../oci/digest.ts';
import type { Descriptor } from '../../oci/manifest.ts';
import { isForeignLayer, layerCompression, MEDIA_TYPES } from '../../oci/media-types.ts';
import { createSharedWork } from '../../oci/shared-work.ts';

/** Half the time of zlib's default, for two bytes in a hundred. */
const LEVEL = 4;
const BUFFER_BYTES = 256 * 1024;
/** Layers compressed at a time, each on a thread of its own. */
const PARALLEL = 2;

export interface CompressedLayers {
  /** The layer as it is pushed: itself, unless it is a plain tar. Compresses one that never was. */
  pushed(layer: Descriptor, protect: (digest: string) => void, signal: AbortSignal): Promise<Descriptor>;
  /** Makes the bytes of what pushed() gave present. */
  ensure(layer: Descriptor, pushed: Descriptor, signal: AbortSignal): Promise<void>;
}

type Known = Pick<Descriptor, 'digest' | 'size'>;

/** True for a layer that is compressed before it is pushed. */
export const isPlainLayer = ({ mediaType }: Descriptor): boolean =>
  layerCompression(mediaType) === 'none' && !isForeignLayer(mediaType);

/** Opens what `file` remembers of the layers of `store`. */
export function openCompressedLayers(store: ContentStore, file: string): CompressedLayers {
  const known = readKnown(file, store);
  const limit = createLimit(PARALLEL);
  const flights = createSharedWork<Known>();

  const compress = (layer: Descriptor, protect: (digest: string) => void, signal: AbortSignal): Promise<Known> =>
    flights.join(layer.digest, signal, (inner) =>
      limit(layer.size, inner, async () => {
        const staged = await store.stage(gzipped(store.blobPath(layer.digest), inner));
        protect(staged.digest);
        await staged.keep();
        const result = { digest: staged.digest, size: staged.sizeBytes };
        known.set(layer.digest, result);
        replaceFile(file, JSON.stringify(Object.fromEntries(known)));
        return result;
      }),
    );

  return {
    async pushed(layer, protect, signal) {
      if (!isPlainLayer(layer)) return layer;
      const found = known.get(layer.digest);
      if (found) protect(found.digest);
      const { digest, size } = found ?? (await compress(layer, protect, signal));
      // Whoever joined the work of another has a lease of its own.
      protect(digest);
      const suffix = layer.mediaType === MEDIA_TYPES.ociLayer ? '+gzip' : '.gzip';
      return { ...layer, mediaType: `${layer.mediaType}${suffix}`, digest, size };
    },
    async ensure(layer, pushed, signal) {
      if (layer === pushed || store.has(pushed.digest, pushed.size)) return;
      const { digest } = await compress(layer, () => undefined, signal);
      if (digest === pushed.digest) return;
      // Another zlib than the one of before: from the next try on it is this digest.
      throw new WindlassError('Unavailable', `layer ${layer.digest} is now compressed to ${digest}: push again`);
    },
  };
}

async function* gzipped(path: string, signal: AbortSignal): AsyncGenerator<Buffer> {
  const source = createReadStream(path, { highWaterMark: BUFFER_BYTES, signal });
  const gzip = createGzip({ level: LEVEL, chunkSize: BUFFER_BYTES, strategy: constants.Z_DEFAULT_STRATEGY });
  source.once('error', (error) => gzip.destroy(error));
  try {
    // Neither a name nor a time goes into the header: equal tars become equal bytes.
    for await (const chunk of source.pipe(gzip)) yield chunk as Buffer;
  } finally {
    source.destroy();
    gzip.destroy();
  }
}

function readKnown(file: string, store: ContentStore): Map<Digest, Known> {
  const known = new Map<Digest, Known>();
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    return known;
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // A memory that is damaged is none: what it said is found out again.
    return known;
  }
  for (const [digest, entry] of Object.entries((parsed ?? {}) as Record<string, Partial<Known> | null>)) {
    if (!isDigest(digest) || !isDigest(entry?.digest) || !Number.isSafeInteger(entry.size)) continue;
    if (store.has(digest)) known.set(digest, { digest: entry.digest, size: entry.size as number });
  }
  return known;
}
