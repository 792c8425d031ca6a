// The files of an image archive, whether it is a folder or a tar: found by name, read from where they are.
import { createReadStream, lstatSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { messageOf, WindlassError } from '../../lib/errors.ts';
import { bytePath } from '../layers/file-system-calls.ts';
import { createTarReader } from '../layers/tar-reader.ts';

export interface ArchiveFiles {
  readonly path: string;
  has(name: string): boolean;
  /** A stream of the file's bytes and their count; NotFound when the archive lacks it. */
  open(name: string): { sizeBytes: number; stream: Readable };
}

/** Reads a small file of the archive. */
export async function readArchiveFile(files: ArchiveFiles, name: string, limit: number): Promise<Buffer> {
  const { sizeBytes, stream } = files.open(name);
  if (sizeBytes > limit) {
    stream.destroy();
    throw new WindlassError('Invalid', `${name} in ${files.path} has ${sizeBytes} bytes, the limit is ${limit}`);
  }
  return Buffer.concat((await stream.toArray()) as Buffer[]);
}

/** The files of a folder; links are not followed. */
export function folderFiles(path: string): ArchiveFiles {
  const find = (name: string): number | undefined => {
    if (name.split('/').some((part) => part === '..' || part === '')) return undefined;
    const found = lstatSync(join(path, name), { throwIfNoEntry: false });
    return found?.isFile() ? found.size : undefined;
  };
  return {
    path,
    has: (name) => find(name) !== undefined,
    open(name) {
      const sizeBytes = find(name);
      if (sizeBytes === undefined) throw missing(name, path);
      return { sizeBytes, stream: createReadStream(join(path, name), { highWaterMark: 1024 * 1024 }) };
    },
  };
}

/** Most names of a tar that are remembered; an image archive has a few per layer. */
const MAX_NAMES = 100_000;

/**
 * Reads through the tar at `path` once. `files` holds the regular files (and links to them) while there are few enough;
 * a root file system may have any number, of which only the first are remembered.
 */
export async function scanTar(path: string, signal: AbortSignal): Promise<ArchiveFiles> {
  const found = new Map<string, { offset: number; size: number } | string>();
  const reader = createTarReader((entry) => {
    if (found.size >= MAX_NAMES) return undefined;
    const name = normalize(entry.name);
    if (entry.type === 'file' && entry.sparse === undefined) {
      found.set(name, { offset: entry.dataOffset, size: entry.size });
    } else if (entry.type === 'hardlink') {
      found.set(name, normalize(entry.linkName));
    } else if (entry.type === 'symlink') {
      // Old docker archives link equal layers to each other.
      found.set(name, normalize(join(name, '..', entry.linkName)));
    }
    return undefined;
  });
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024, signal }))
      reader.write(chunk as Buffer);
    reader.end();
  } catch (error) {
    if (!(error instanceof WindlassError)) throw error;
    throw new WindlassError('Invalid', `${path} is not a tar archive: ${messageOf(error)}`, { cause: error });
  }
  const find = (name: string): { offset: number; size: number } | undefined => {
    let current = found.get(bytePath(normalize(name)));
    for (let links = 0; typeof current === 'string' && links < 8; links += 1) current = found.get(current);
    return typeof current === 'string' ? undefined : current;
  };
  return {
    path,
    has: (name) => find(name) !== undefined,
    open(name) {
      const at = find(name);
      if (at === undefined) throw missing(name, path);
      const stream =
        at.size === 0
          ? Readable.from([])
          : createReadStream(path, { start: at.offset, end: at.offset + at.size - 1, highWaterMark: 1024 * 1024 });
      return { sizeBytes: at.size, stream };
    },
  };
}

function normalize(name: string): string {
  return name.replace(/^(?:\.?\/+)+/, '').replace(/\/+$/, '');
}

function missing(name: string, path: string): WindlassError {
  return new WindlassError('Invalid', `${path} has no file ${name}`);
}
