// An image of the size of a usual application image, the same for every run: 6 layers, 7,700 files, 212 MB of tar.
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { digestOf } from '../../oci/digest.ts';
import type { Descriptor } from '../../oci/manifest.ts';
import { MEDIA_TYPES } from '../../oci/media-types.ts';
import { hostPlatform } from '../../oci/platform.ts';
import { makeTar, type TarItem, type TestImage } from '../../test/support/images.ts';

const gzipAsync = promisify(gzip);
const LAYERS = [
  { files: 3000, megabytes: 75 },
  { files: 1800, megabytes: 50 },
  { files: 1500, megabytes: 40 },
  { files: 900, megabytes: 25 },
  { files: 400, megabytes: 15 },
  { files: 100, megabytes: 7 },
] as const;
const FILES_PER_FOLDER = 12;
const POOL_BYTES = 8 * 1024 * 1024;

export interface LargeImage extends TestImage {
  readonly tarBytes: number;
  readonly blobBytes: number;
  readonly files: number;
}

/** Makes images that differ in one small file per layer, so that none of their layers is known from another one. */
export function createLargeImages(): (round: number) => Promise<LargeImage> {
  const random = createRandom(1);
  const pool = makeText(random);
  const layers = LAYERS.map((layer, index) => layerItems(layer, index, pool, random));
  return async (round) => {
    const tars = layers.map((items, index) =>
      makeTar([...items, { name: `opt/layer${index}/round`, content: `${round}\n`, mode: 0o644 }]),
    );
    const blobs = new Map<TestImage['manifest']['digest'], Buffer>();
    const add = (bytes: Buffer, mediaType: string): Descriptor => {
      const digest = digestOf(bytes);
      blobs.set(digest, bytes);
      return { mediaType, digest, size: bytes.length };
    };
    const compressed = await Promise.all(tars.map((tar) => gzipAsync(tar, { level: 6 })));
    const descriptors = compressed.map((bytes) => add(bytes, 'application/vnd.docker.image.rootfs.diff.tar.gzip'));
    const { os, architecture } = hostPlatform();
    const rootfs = { type: 'layers', diff_ids: tars.map((tar) => digestOf(tar)) };
    const history = tars.map((_, index) => ({ created: '2026-01-01T00:00:00Z', created_by: `layer ${index}` }));
    const created = '2026-01-01T00:00:00Z';
    const config = add(
      Buffer.from(JSON.stringify({ created, os, architecture, config: { Cmd: ['true'] }, rootfs, history })),
      MEDIA_TYPES.dockerConfig,
    );
    const mediaType = MEDIA_TYPES.dockerManifest;
    const document = { schemaVersion: 2, mediaType, config, layers: descriptors };
    const manifest = add(Buffer.from(JSON.stringify(document)), mediaType);
    return {
      ...{ blobs, manifest, config, tars },
      layers: descriptors,
      tarBytes: tars.reduce((sum, tar) => sum + tar.length, 0),
      blobBytes: descriptors.reduce((sum, { size }) => sum + size, 0),
      files: LAYERS.reduce((sum, { files }) => sum + files, 0),
    };
  };
}

function layerItems(
  { files, megabytes }: (typeof LAYERS)[number],
  index: number,
  pool: Buffer,
  random: () => number,
): TarItem[] {
  // Sizes as in a file system: many small files, and a few that hold most of the bytes.
  const weights = Array.from({ length: files }, () => Math.exp(2 * normal(random)));
  const scale = (megabytes * 1e6) / weights.reduce((sum, weight) => sum + weight, 0);
  const items: TarItem[] = [{ name: 'opt/', type: 'directory' }];
  let folder = `opt/layer${index}/`;
  items.push({ name: folder, type: 'directory' });
  for (const [at, weight] of weights.entries()) {
    if (at % FILES_PER_FOLDER === 0) {
      folder = `opt/layer${index}/folder${Math.floor(at / FILES_PER_FOLDER)}/`;
      items.push({ name: folder, type: 'directory' });
    }
    const size = Math.max(1, Math.round(weight * scale));
    const mtime = { seconds: 1_700_000_000 + at, nanoseconds: 0 };
    items.push({ name: `${folder}file${at}.txt`, content: slice(pool, size, random), mode: 0o644, mtime });
  }
  return items;
}

/** `size` bytes of the pool from a random place on, as often round as it takes. */
function slice(pool: Buffer, size: number, random: () => number): Buffer {
  const start = Math.floor(random() * pool.length);
  const parts: Buffer[] = [];
  for (let left = size, at = start; left > 0; at = 0) {
    const part = pool.subarray(at, Math.min(at + left, pool.length));
    parts.push(part);
    left -= part.length;
  }
  return Buffer.concat(parts);
}

/** Words of random letters, the early ones of the vocabulary more often: gzip makes a third of it. */
function makeText(random: () => number): Buffer {
  const letter = (): string => String.fromCharCode(97 + Math.floor(random() * 26));
  const words = Array.from({ length: 10_000 }, () =>
    Array.from({ length: 3 + Math.floor(random() * 9) }, letter).join(''),
  );
  const parts: string[] = [];
  for (let bytes = 0; bytes < POOL_BYTES;) {
    const word = words[Math.floor(words.length * random() ** 5)] as string;
    parts.push(word);
    bytes += word.length + 1;
  }
  return Buffer.from(parts.join(' '));
}

/** Mulberry32: small, and the same numbers on every machine. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
