// A folder as a tar stream: names in order, hard links kept, sockets left out; the same folder gives the same bytes.
import { createReadStream, lstatSync, readdirSync, readlinkSync, type BigIntStats } from 'node:fs';
import type { FileSystemCalls } from '../layers/file-system-calls.ts';
import { bytePath, nativePath } from '../layers/file-system-calls.ts';
import { encodeTarHeader, endOfArchive, paddingFor, type TarHeaderFields } from '../layers/tar-writer.ts';

/** Streams everything below `folder`, which is not changed meanwhile. */
export async function* tarOfFolder(
  folder: string,
  calls: FileSystemCalls,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const root = bytePath(folder);
  const seen = new Map<string, string>();
  // Directories still to visit, last first, so that a tree of any depth needs no recursion.
  const todo = [''];
  while (todo.length > 0) {
    signal.throwIfAborted();
    const name = todo.pop() as string;
    const path = name === '' ? root : `${root}/${name}`;
    const stat = lstatSync(nativePath(path), { bigint: true });
    const fields = describe(name, path, stat, calls);
    if (fields === undefined) continue;
    if (fields.type === 'directory') {
      const children = readdirSync(nativePath(path), { encoding: 'latin1' }).toSorted();
      todo.push(...children.toReversed().map((child) => (name === '' ? child : `${name}/${child}`)));
    } else if (stat.nlink > 1n) {
      const key = `${stat.dev}:${stat.ino}`;
      const first = seen.get(key);
      if (first !== undefined) {
        yield encodeTarHeader({ ...fields, type: 'hardlink', linkName: first, size: 0 });
        continue;
      }
      seen.set(key, name);
    }
    yield encodeTarHeader(fields);
    if (fields.type === 'file' && fields.size) yield* content(path, fields.size);
  }
  yield endOfArchive();
}

function describe(name: string, path: string, stat: BigIntStats, calls: FileSystemCalls): TarHeaderFields | undefined {
  const nanoseconds = Number(((stat.mtimeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n);
  const common = {
    name,
    mode: Number(stat.mode) & 0o7777,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mtime: { seconds: Number((stat.mtimeNs - BigInt(nanoseconds)) / 1_000_000_000n), nanoseconds },
    xattrs: calls.readXattrs(path),
  };
  if (stat.isDirectory()) return { ...common, name: name === '' ? './' : `${name}/`, type: 'directory' };
  if (stat.isFile()) return { ...common, type: 'file', size: Number(stat.size) };
  if (stat.isSymbolicLink()) {
    return { ...common, type: 'symlink', linkName: readlinkSync(nativePath(path), { encoding: 'latin1' }) };
  }
  if (stat.isFIFO()) return { ...common, type: 'fifo' };
  if (!stat.isCharacterDevice() && !stat.isBlockDevice()) return undefined;
  const device = BigInt(stat.rdev);
  return {
    ...common,
    type: stat.isBlockDevice() ? 'block' : 'char',
    major: Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n)),
    minor: Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n)),
  };
}

/** Exactly `size` bytes, as the header said, even when the file grew or shrank since. */
async function* content(path: string, size: number): AsyncGenerator<Buffer> {
  let left = size;
  for await (const chunk of createReadStream(nativePath(path), { end: size - 1, highWaterMark: 1024 * 1024 })) {
    left -= (chunk as Buffer).length;
    yield chunk as Buffer;
  }
  while (left > 0) {
    const zeros = Buffer.alloc(Math.min(left, 1024 * 1024));
    left -= zeros.length;
    yield zeros;
  }
  yield paddingFor(size);
}
