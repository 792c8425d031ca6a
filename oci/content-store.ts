// Blobs on disk as an OCI image layout, which other tools (skopeo) can read:
//   oci-layout, index.json          the layout; each entry of the index is one reference of one image
//   blobs/<algorithm>/<hex>         immutable; visible only after its digest was verified
//   ingest/<algorithm>-<hex>        a blob that is being written; kept for a later resume when writing stops
// One process owns a store. Within it everything may run concurrently: blobs appear by rename, the index is replaced
// in one synchronous step, and the sweep looks at what is protected in the same tick in which it deletes.
import { randomUUID } from 'node:crypto';
import {
  existsSync,
  fsyncSync,
  openSync,
  closeSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { readdir, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { errnoOf, WindlassError } from '../lib/errors.ts';
import { digestMismatch, digestOf, isDigest, splitDigest, type Digest } from './digest.ts';
import { asStoreError, openIngest, partialName, stage, type Ingest, type StagedBlob } from './ingest.ts';
import type { Descriptor } from './manifest.ts';
import { MEDIA_TYPES } from './media-types.ts';

export const REF_NAME = 'org.opencontainers.image.ref.name';
/** Blobs that a sweep looks at in one go. */
const SWEEP_AT_ONCE = 256;
const PARTIAL_MAX_AGE_MS = 7 * 24 * 3600 * 1000;

export interface ContentStore {
  readonly root: string;
  blobPath(digest: Digest): string;
  /** Size of a blob that is present and, when `sizeBytes` is given, has that size. */
  has(digest: Digest, sizeBytes?: number): boolean;
  /** Size of a blob; undefined when it is not present. */
  sizeOf(digest: Digest): number | undefined;
  /** All blobs that are present. */
  list(): readonly Digest[];
  /** Reads and verifies a small blob; NotFound when absent, Invalid when larger than `limit` or damaged. */
  read(digest: Digest, limit: number): Promise<Buffer>;
  /** Writes a small blob; its digest is a SHA-256 unless said. */
  put(bytes: Buffer, algorithm?: 'sha256' | 'sha512'): Promise<Digest>;
  openIngest(digest: Digest, sizeBytes: number): Promise<Ingest>;
  /** Where a blob is while it is being written. */
  partialPath(digest: Digest): string;
  /** Writes bytes whose digest is not known yet to a temporary file; nothing is left behind when `source` fails. */
  stage(source: AsyncIterable<Buffer>): Promise<StagedBlob>;
  /** Makes a finished file of the same file system a blob, whose bytes its caller has hashed and flushed. */
  adopt(path: string, digest: Digest): Promise<void>;
  /** Entries of index.json: one per reference (annotation REF_NAME), and images without one. */
  index(): readonly Descriptor[];
  /** Replaces the index by what `change` returns; synchronous and durable. */
  updateIndex(change: (entries: readonly Descriptor[]) => readonly Descriptor[]): void;
  /** Deletes every blob that `isLive` does not want. It is asked again just before each deletion. */
  sweep(isLive: (digest: Digest) => boolean): Promise<{ blobs: number; bytes: number }>;
  usage(): Promise<{ usedBytes: number; inodes: number }>;
}

/** Opens or creates the store below `root`. Throws Internal when index.json is damaged. */
export function openContentStore(root: string): ContentStore {
  for (const folder of ['blobs/sha256', 'blobs/sha512', 'ingest']) {
    mkdirSync(join(root, folder), { recursive: true, mode: 0o700 });
  }
  // Of a writer that was killed; what has a digest for a name is kept, to be resumed.
  for (const name of readdirSync(join(root, 'ingest'))) {
    if (name.startsWith('tmp-')) rmSync(join(root, 'ingest', name), { force: true });
  }
  if (!existsSync(join(root, 'oci-layout'))) replaceFile(join(root, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  let entries = readIndex(join(root, 'index.json'));

  const blobPath = (digest: Digest): string => {
    const { algorithm, hex } = splitDigest(digest);
    return join(root, 'blobs', algorithm, hex);
  };
  const has = (digest: Digest, sizeBytes?: number): boolean => {
    const found = statSync(blobPath(digest), { throwIfNoEntry: false });
    return found !== undefined && (sizeBytes === undefined || found.size === sizeBytes);
  };

  return {
    root,
    blobPath,
    has,
    sizeOf: (digest) => statSync(blobPath(digest), { throwIfNoEntry: false })?.size,
    list: () =>
      (['sha256', 'sha512'] as const).flatMap((algorithm) =>
        readdirSync(join(root, 'blobs', algorithm))
          .map((hex) => `${algorithm}:${hex}`)
          .filter(isDigest),
      ),
    adopt: (path, digest) => rename(path, blobPath(digest)),
    index: () => entries,
    async read(digest, limit) {
      const path = blobPath(digest);
      const found = statSync(path, { throwIfNoEntry: false });
      if (!found) throw new WindlassError('NotFound', `blob ${digest} is not in the content store`);
      if (found.size > limit)
        throw new WindlassError('Invalid', `blob ${digest} has ${found.size} bytes, the limit is ${limit}`);
      const bytes = await readFile(path);
      const actual = digestOf(bytes, splitDigest(digest).algorithm);
      if (actual !== digest) throw digestMismatch(`blob ${digest}`, digest, actual);
      return bytes;
    },
    async put(bytes, algorithm = 'sha256') {
      const digest = digestOf(bytes, algorithm);
      if (has(digest, bytes.length)) return digest;
      const temporary = join(root, 'ingest', `tmp-${randomUUID()}`);
      try {
        await writeFile(temporary, bytes, { mode: 0o600, flush: true });
        await rename(temporary, blobPath(digest));
      } catch (error) {
        await rm(temporary, { force: true });
        throw asStoreError(`failed to write blob ${digest} to ${root}`, error);
      }
      return digest;
    },
    partialPath: (digest) => join(root, 'ingest', partialName(digest)),
    openIngest: (digest, sizeBytes) => openIngest(join(root, 'ingest'), blobPath(digest), digest, sizeBytes),
    stage: (source) => stage(join(root, 'ingest'), blobPath, source),
    updateIndex(change) {
      const next = change(entries);
      replaceFile(join(root, 'index.json'), serializeIndex(next));
      entries = next;
    },
    async sweep(isLive) {
      const result = { blobs: 0, bytes: 0 };
      for (const algorithm of ['sha256', 'sha512'] as const) {
        const names = await readdir(join(root, 'blobs', algorithm));
        for (const [index, hex] of names.entries()) {
          // Others get their turn: a large store takes a while.
          if (index % SWEEP_AT_ONCE === SWEEP_AT_ONCE - 1) await turn();
          const digest = `${algorithm}:${hex}`;
          // No await between the question and the deletion: a pull protects a digest before it looks for it.
          if (isDigest(digest) && isLive(digest)) continue;
          const path = join(root, 'blobs', algorithm, hex);
          const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
          rmSync(path, { force: true });
          result.blobs += 1;
          result.bytes += size;
        }
      }
      await removeOldPartials(join(root, 'ingest'), isLive);
      return result;
    },
    async usage() {
      let usedBytes = 0;
      let inodes = 0;
      for (const folder of ['blobs/sha256', 'blobs/sha512', 'ingest']) {
        for (const name of await readdir(join(root, folder))) {
          const found = await stat(join(root, folder, name)).catch(() => undefined);
          if (!found) continue;
          usedBytes += found.blocks * 512;
          inodes += 1;
        }
      }
      return { usedBytes, inodes };
    },
  };
}

function readIndex(path: string): readonly Descriptor[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    replaceFile(path, serializeIndex([]));
    return [];
  }
  try {
    const { manifests } = JSON.parse(text) as { manifests: Descriptor[] };
    if (!Array.isArray(manifests) || !manifests.every(({ digest }) => isDigest(digest)))
      throw new Error('no manifests');
    return manifests;
  } catch (error) {
    throw new WindlassError('Internal', `the content store's index ${path} is damaged`, { cause: error });
  }
}

function serializeIndex(entries: readonly Descriptor[]): string {
  return JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: entries });
}

/** Temp file, fsync, rename; synchronous, so that no other change of the same file comes between. */
function replaceFile(path: string, text: string): void {
  const temporary = `${path}.tmp`;
  try {
    const fd = openSync(temporary, 'w', 0o600);
    try {
      writeFileSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    throw asStoreError(`failed to write ${path}`, error);
  }
}

/** What is being written is let be, however old a clock that was set may make it look. */
async function removeOldPartials(folder: string, isLive: (digest: Digest) => boolean): Promise<void> {
  for (const name of await readdir(folder)) {
    const digest = name.replace('-', ':');
    if (isDigest(digest) && isLive(digest)) continue;
    const path = join(folder, name);
    const found = await stat(path).catch(() => undefined);
    if (found && Date.now() - found.mtimeMs > PARTIAL_MAX_AGE_MS) await unlink(path).catch(() => undefined);
  }
}
