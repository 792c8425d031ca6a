// Blobs that belong to no image and are kept all the same: archives that were uploaded to be built from. Somebody declares
// which; what was just brought in is kept for a while before it must have been.
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync, renameSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { flushFolder, replaceFile } from '../../lib/replace-file.ts';
import type { ContentStore } from '../../oci/content-store.ts';
import { digestMismatch, isDigest, type Digest } from '../../oci/digest.ts';
import { asFolderError } from '../store/record-file.ts';
import type { Lease, Leases } from './leases.ts';

const FRESH_MS = 3600 * 1000;

export interface KeptBlobs {
  /**
   * Makes a file of the same file system a blob, which no power loss takes any more; the file is gone then. Throws NotFound without the file, Invalid, and
   * leaves the file, when its bytes are others.
   */
  adopt(path: string, digest: string): Promise<void>;
  /** Declares all that is to be kept; gives those that are not here. The others go with the next sweep. */
  declare(digests: readonly string[]): readonly string[];
}

const Kept = z.object({
  declared: z.array(z.string().refine(isDigest)),
  /** When each was brought in. */
  fresh: z.record(z.string().refine(isDigest), z.number()),
});
type Kept = z.infer<typeof Kept>;

interface KeptBlobsParts {
  readonly store: ContentStore;
  readonly leases: Leases;
  readonly now?: () => number;
  readonly onDamaged: (file: string, error: unknown) => void;
}

/**
 * Opens the list in `file`; from now on the blobs on it are leased. One that cannot be read is reported and put aside, and
 * every blob that is here counts as just brought in: what was on it will have been declared anew before that is over.
 */
export function openKeptBlobs(file: string, { store, leases, now = Date.now, onDamaged }: KeptBlobsParts): KeptBlobs {
  let kept = readKept();
  let lease: Lease | undefined;
  const protect = (): void => {
    const next = leases.open();
    for (const digest of [...kept.declared, ...Object.keys(kept.fresh)]) next.protect(digest);
    lease?.[Symbol.dispose]();
    lease = next;
  };
  function readKept(): Kept {
    try {
      return Kept.parse(JSON.parse(readFileSync(file, 'utf8')));
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return { declared: [], fresh: {} };
      if (errnoOf(error) !== undefined) throw error;
      onDamaged(file, error);
      const anew = { declared: [], fresh: Object.fromEntries(store.list().map((digest) => [digest, now()])) };
      renameSync(file, `${file}.damaged`);
      save(anew);
      return anew;
    }
  }
  // The disk holds it before an upload is acknowledged: whoever sent it may have nothing more to send.
  function save(next: Kept): void {
    try {
      replaceFile(file, JSON.stringify(next), { flush: true });
    } catch (error) {
      throw asFolderError(dirname(file), error);
    }
  }
  const change = (next: Kept): void => {
    if (JSON.stringify(next) === JSON.stringify(kept)) return;
    save(next);
    kept = next;
    protect();
  };
  protect();
  return {
    async adopt(path, text) {
      const digest = toDigest(text);
      if (!store.has(digest)) {
        const found = await hashFile(path);
        if (found !== digest) throw digestMismatch(`file ${path}`, digest, found);
        await flush(path);
      }
      change({ ...kept, fresh: { ...kept.fresh, [digest]: now() } });
      await store.adopt(path, digest);
      flushFolder(dirname(store.blobPath(digest)));
    },
    declare(digests) {
      const declared = [...new Set(digests.map(toDigest))].toSorted();
      const fresh = Object.entries(kept.fresh).filter(
        ([digest, atMs]) => now() - atMs < FRESH_MS && !declared.includes(digest as Digest),
      );
      change({ declared, fresh: Object.fromEntries(fresh) });
      return declared.filter((digest) => !store.has(digest));
    },
  };
}

function toDigest(text: string): Digest {
  if (isDigest(text) && text.startsWith('sha256:')) return text;
  throw new WindlassError('Invalid', `digest: want sha256: and 64 hex digits, not ${JSON.stringify(text)}`);
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') throw new WindlassError('NotFound', `${path} does not exist`, { cause: error });
    throw error;
  }
  return `sha256:${hash.digest('hex')}`;
}

async function flush(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
