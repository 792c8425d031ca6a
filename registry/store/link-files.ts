// Repositories on disk, below <root>/repositories/<name>/:
//   _blobs/<algorithm>-<hex>       empty; its mtime says when the blob was last wanted
//   _manifests/<algorithm>-<hex>   what is known of the manifest, as JSON
//   _tags/<tag>                    the digest it means
// No component of a repository's name begins with an underscore, so that a/b may lie inside a. Files appear by rename,
// each after what it points at.
import { randomUUID } from 'node:crypto';
import { readFileSync, readdirSync, statSync, type Dirent } from 'node:fs';
import { mkdir, rename, rm, rmdir, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { errnoOf } from '../../lib/errors.ts';
import { isDigest, type Digest } from '../../oci/digest.ts';
import { asStoreError } from '../../oci/ingest.ts';
import { isRepositoryName, isTag } from '../names.ts';
import type { ManifestLink } from './repository.ts';

const digests = z.array(z.custom<Digest>(isDigest));
const manifestFile = z.object({
  mediaType: z.string(),
  sizeBytes: z.number().int().min(0),
  subject: z.custom<Digest>(isDigest).optional(),
  artifactType: z.string().optional(),
  blobs: digests,
  manifests: digests,
});

export interface FoundRepository {
  readonly name: string;
  readonly blobs: Map<Digest, number>;
  readonly manifests: Map<Digest, ManifestLink>;
  readonly tags: Map<string, Digest>;
}

export type LinkKind = '_blobs' | '_manifests' | '_tags';

export interface LinkFiles {
  /** Everything there is; `onDamage` is told of each file that cannot be read, which is then left out. */
  load(onDamage: (file: string, problem: string) => void): FoundRepository[];
  /** Writes a link; it is on the disk when this resolves. */
  write(repository: string, kind: LinkKind, key: string, text: string): Promise<void>;
  /** Removes a link, and the folders that it was the last of. No error when it is not there. */
  remove(repository: string, kind: LinkKind, key: string): Promise<void>;
  /** Notes on the disk that a blob or manifest is wanted. */
  touch(repository: string, kind: LinkKind, digest: Digest, atMs: number): Promise<void>;
}

/** The name of a digest's file. */
const fileOf = (key: string): string => key.replace(':', '-');

/** The text of a manifest's file. */
export function serializeManifestLink({
  mediaType,
  sizeBytes,
  subject,
  artifactType,
  blobs,
  manifests,
}: ManifestLink): string {
  return JSON.stringify({ mediaType, sizeBytes, subject, artifactType, blobs, manifests });
}

/** Files below `root`, an existing folder. */
export function openLinkFiles(root: string): LinkFiles {
  const base = join(root, 'repositories');
  const pathOf = (repository: string, kind: LinkKind, key: string): string => join(base, repository, kind, fileOf(key));
  return {
    load(onDamage) {
      const found: FoundRepository[] = [];
      visit(base, '', (name, folder) => found.push(readRepository(name, folder, onDamage)));
      return found;
    },
    async write(repository, kind, key, text) {
      const path = pathOf(repository, kind, key);
      const temporary = join(root, 'ingest', `tmp-${randomUUID()}`);
      try {
        await writeFile(temporary, text, { mode: 0o600, flush: true });
        // A removal next door may take an empty folder away between the two.
        for (let tries = 0; ; tries += 1) {
          await mkdir(dirname(path), { recursive: true, mode: 0o700 });
          try {
            return await rename(temporary, path);
          } catch (error) {
            if (errnoOf(error) !== 'ENOENT' || tries === 4) throw error;
          }
        }
      } catch (error) {
        await rm(temporary, { force: true });
        throw asStoreError(`failed to write ${path}`, error);
      }
    },
    async remove(repository, kind, key) {
      const path = pathOf(repository, kind, key);
      await rm(path, { force: true });
      for (let folder = dirname(path); folder.length > base.length; folder = dirname(folder)) {
        try {
          await rmdir(folder);
        } catch (error) {
          if (!['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(errnoOf(error) ?? '')) throw error;
          if (errnoOf(error) !== 'ENOENT') return;
        }
      }
    },
    async touch(repository, kind, digest, atMs) {
      try {
        await utimes(pathOf(repository, kind, digest), atMs / 1000, atMs / 1000);
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw error;
      }
    },
  };
}

function visit(folder: string, name: string, onRepository: (name: string, folder: string) => void): void {
  const entries = listFolder(folder).filter((entry) => entry.isDirectory());
  if (entries.some(({ name: part }) => part.startsWith('_')) && isRepositoryName(name)) onRepository(name, folder);
  for (const { name: part } of entries) {
    if (!part.startsWith('_')) visit(join(folder, part), name === '' ? part : `${name}/${part}`, onRepository);
  }
}

function readRepository(
  name: string,
  folder: string,
  onDamage: (file: string, problem: string) => void,
): FoundRepository {
  const blobs = new Map<Digest, number>();
  const manifests = new Map<Digest, ManifestLink>();
  const tags = new Map<string, Digest>();
  const each = (kind: LinkKind, read: (key: string, path: string) => void): void => {
    for (const { name: file } of listFolder(join(folder, kind))) {
      const path = join(folder, kind, file);
      try {
        read(kind === '_tags' ? file : file.replace('-', ':'), path);
      } catch (error) {
        onDamage(path, (error as Error).message);
      }
    }
  };
  each('_blobs', (key, path) => {
    if (!isDigest(key)) throw new Error('its name is no digest');
    blobs.set(key, statSync(path).mtimeMs);
  });
  each('_manifests', (key, path) => {
    if (!isDigest(key)) throw new Error('its name is no digest');
    const { subject, artifactType, ...link } = manifestFile.parse(JSON.parse(readFileSync(path, 'utf8')));
    const { mtimeMs } = statSync(path);
    manifests.set(key, {
      ...link,
      ...(subject === undefined ? {} : { subject }),
      ...(artifactType === undefined ? {} : { artifactType }),
      wantedAtMs: mtimeMs,
      notedAtMs: mtimeMs,
    });
  });
  each('_tags', (key, path) => {
    const digest = readFileSync(path, 'utf8');
    if (!isTag(key) || !isDigest(digest)) throw new Error('it is no tag that points at a digest');
    tags.set(key, digest);
  });
  return { name, blobs, manifests, tags };
}

function listFolder(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
