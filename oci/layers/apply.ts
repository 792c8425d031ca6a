// Writes one layer's tar stream into a private, empty directory as overlayfs wants to see it: whiteouts become 0/0
// character devices, opaque directories an extended attribute. Nobody else writes there, so a path that was resolved
// inside the root stays so; the finished directory is renamed into place by the caller.
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  chmodSync,
  mkdirSync,
  openSync,
  rmSync,
  statfsSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { NO_SPACE } from '../ingest.ts';
import { FILE_TYPE, nativePath, type FileSystemCalls } from './file-system-calls.ts';
import { createRootedPaths, lstatOf, splitEntryName } from './rooted-paths.ts';
import { tarError, type TarEntry } from './tar-header.ts';
import { createTarReader, type TarReader, type TarSink } from './tar-reader.ts';

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
const METADATA = '.wh..wh.';
/** ext4 keeps a link's target in its inode up to here. */
const INLINE_LINK_BYTES = 60;
/** Bytes of new content between two looks at the free space. */
const SPACE_CHECK_BYTES = 64 * 1024 * 1024;

export interface ApplyOptions {
  /** Most bytes of file content, and most entries, that the layer may have. */
  readonly maxBytes: number;
  readonly maxEntries: number;
  /** Stop while this much is still free on the file system. */
  readonly minFreeBytes: number;
  /** Names that begin with `.wh.` delete; false for an archive that is no layer. */
  readonly hasWhiteouts: boolean;
}

export const DEFAULT_APPLY_OPTIONS: ApplyOptions = {
  maxBytes: 256 * 1024 ** 3,
  maxEntries: 5_000_000,
  minFreeBytes: 128 * 1024 * 1024,
  hasWhiteouts: true,
};

export interface ApplyResult {
  /** What the layer takes on disk, in whole blocks as the file system hands them out. */
  readonly usedBytes: number;
  readonly inodes: number;
  /** Directories the archive only implied; they take mode and owner from the layers below. Byte strings. */
  readonly implicitDirectories: readonly string[];
  /** The layer hides everything below it. */
  readonly isRootOpaque: boolean;
}

export interface LayerApplier {
  readonly reader: TarReader;
  /** Sets the times of directories; call once after the reader's end(). */
  finish(): ApplyResult;
}

/** Applies a layer below `root` (byte string of an existing empty directory). */
export function createLayerApplier(root: string, calls: FileSystemCalls, options: ApplyOptions): LayerApplier {
  // The root itself is the empty path.
  const implicit = new Set<string>(['']);
  const paths = createRootedPaths(root, (path) => {
    implicit.add(path);
    use(blockBytes);
    if (whiteouts.delete(`${root}/${path}`)) setOpaque(`${root}/${path}`);
  });
  const directoryTimes = new Map<string, TarEntry['mtime']>();
  const whiteouts = new Set<string>();
  const blockBytes = statfsSync(nativePath(root)).bsize;
  const usage = { usedBytes: blockBytes, inodes: 1 };
  const use = (bytes: number): void => {
    usage.inodes += 1;
    usage.usedBytes += Math.ceil(bytes / blockBytes) * blockBytes;
  };
  let sizeBytes = 0;
  let uncheckedBytes = SPACE_CHECK_BYTES;
  let entries = 0;
  let isRootOpaque = false;

  function account(bytes: number, name: string): void {
    sizeBytes += bytes;
    uncheckedBytes += bytes;
    if (sizeBytes > options.maxBytes) {
      throw new WindlassError('Invalid', `layer unpacks to more than ${options.maxBytes} bytes (at ${name})`);
    }
    if (uncheckedBytes < SPACE_CHECK_BYTES) return;
    uncheckedBytes = 0;
    const { bavail, bsize } = statfsSync(nativePath(root));
    if (bavail * bsize - bytes < options.minFreeBytes) throw noSpace();
  }

  function onEntry(entry: TarEntry): TarSink | undefined {
    entries += 1;
    if (entries > options.maxEntries) throw tarError(`more than ${options.maxEntries} entries`);
    const parts = splitEntryName(entry.name);
    const last = parts.at(-1);
    if (last === undefined) {
      if (entry.type !== 'directory') throw tarError('the root is not a directory');
      setMetadata(root, entry);
      directoryTimes.set(root, entry.mtime);
      implicit.delete('');
      return undefined;
    }
    if (options.hasWhiteouts && isWhiteout(parts, last, entry.name)) return undefined;
    const directory = paths.directory(parts.slice(0, -1));
    return create(`${directory}/${last}`, parts, entry);
  }

  /** Does what a name that begins with `.wh.` asks for; false for any other name. */
  function isWhiteout(parts: readonly string[], last: string, name: string): boolean {
    // Other names of this form are bookkeeping of aufs, an older layer format.
    if (parts.some((part) => part.startsWith(METADATA) && part !== OPAQUE)) return true;
    if (parts.slice(0, -1).some((part) => part.startsWith(WHITEOUT))) {
      throw tarError(`entry ${JSON.stringify(name)} lies below a whiteout`);
    }
    if (last === OPAQUE) markOpaque(parts.slice(0, -1));
    else if (last.startsWith(WHITEOUT)) addWhiteout(parts.slice(0, -1), last.slice(WHITEOUT.length));
    return last.startsWith(WHITEOUT);
  }

  const setOpaque = (path: string): void => calls.lsetxattr(path, 'trusted.overlay.opaque', Buffer.from('y'));

  function markOpaque(parts: readonly string[]): void {
    if (parts.length === 0) isRootOpaque = true;
    else setOpaque(paths.directory(parts));
  }

  function addWhiteout(parts: readonly string[], name: string): void {
    if (name === '' || name === '.' || name === '..') throw tarError(`invalid whiteout ${JSON.stringify(name)}`);
    const path = `${paths.directory(parts)}/${name}`;
    const existing = lstatOf(path);
    if (existing === undefined) {
      calls.mknod(path, FILE_TYPE.char, 0, 0);
      use(0);
      whiteouts.add(path);
    } else if (existing.isDirectory()) {
      // A whiteout hides what is below the layer, never what the layer itself brings.
      setOpaque(path);
    }
  }

  function create(path: string, parts: readonly string[], entry: TarEntry): TarSink | undefined {
    // A link to its own name changes nothing, and must not lose the file.
    const linkTarget = entry.type === 'hardlink' ? findLinkTarget(entry) : undefined;
    if (linkTarget === path) return undefined;
    const native = nativePath(path);
    // Files and directories are most of a layer and nearly always new: they are looked for only when they are not.
    if (entry.type !== 'file' && entry.type !== 'directory') clear(path, false);
    switch (entry.type) {
      case 'file':
        return writeFile(path, entry);
      case 'directory':
        makeDirectory(path, parts);
        implicit.delete(path.slice(root.length + 1));
        directoryTimes.set(path, entry.mtime);
        setMetadata(path, entry);
        return undefined;
      case 'symlink':
        if (entry.linkName === '') throw tarError(`link ${JSON.stringify(entry.name)} has no target`);
        symlinkSync(nativePath(entry.linkName), native);
        use(entry.linkName.length < INLINE_LINK_BYTES ? 0 : blockBytes);
        lchownSync(native, entry.uid, entry.gid);
        setXattrs(path, entry);
        calls.lutimens(path, entry.mtime.seconds, entry.mtime.nanoseconds);
        return undefined;
      case 'hardlink':
        linkSync(nativePath(linkTarget as string), native);
        return undefined;
      case 'char':
      case 'block':
      case 'fifo':
        if (entry.type === 'char' && entry.major === 0 && entry.minor === 0) {
          throw tarError(`device ${JSON.stringify(entry.name)} is 0/0, which the kernel takes for a whiteout`);
        }
        calls.mknod(path, FILE_TYPE[entry.type] | 0o600, entry.major, entry.minor);
        use(0);
        setMetadata(path, entry);
        calls.lutimens(path, entry.mtime.seconds, entry.mtime.nanoseconds);
        return undefined;
    }
  }

  function makeDirectory(path: string, parts: readonly string[]): void {
    try {
      mkdirSync(nativePath(path), 0o700);
      use(blockBytes);
      paths.remember(parts, path);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      const replaced = clear(path, true);
      if (replaced === 'kept') return;
      mkdirSync(nativePath(path), 0o700);
      use(blockBytes);
      if (replaced === 'whiteout') setOpaque(path);
    }
  }

  /** Makes room at `path`: the last of several entries of one name wins, and only two directories are merged. */
  function clear(path: string, isDirectory: boolean): 'nothing' | 'kept' | 'whiteout' | 'removed' {
    const existing = lstatOf(path);
    if (existing === undefined) return 'nothing';
    if (existing.isDirectory()) {
      if (isDirectory) return 'kept';
      rmSync(nativePath(path), { recursive: true });
      for (const directory of directoryTimes.keys()) {
        if (directory === path || directory.startsWith(`${path}/`)) directoryTimes.delete(directory);
      }
      paths.forget();
      return 'removed';
    }
    unlinkSync(nativePath(path));
    if (existing.isSymbolicLink()) paths.forget();
    return whiteouts.delete(path) ? 'whiteout' : 'removed';
  }

  function findLinkTarget(entry: TarEntry): string {
    const parts = splitEntryName(entry.linkName);
    const directory = paths.existing(parts.slice(0, -1));
    const target = directory === undefined || parts.length === 0 ? undefined : `${directory}/${parts.at(-1)}`;
    const stat = target === undefined ? undefined : lstatOf(target);
    if (target === undefined || stat === undefined || stat.isDirectory() || whiteouts.has(target)) {
      throw tarError(
        `hard link ${JSON.stringify(entry.name)} to ${JSON.stringify(entry.linkName)}, which is not there`,
      );
    }
    return target;
  }

  function writeFile(path: string, entry: TarEntry): TarSink {
    const stored = entry.sparse ? entry.sparse.reduce((sum, { length }) => sum + length, 0) : entry.size;
    account(stored, entry.name);
    use(stored);
    const fd = openNew(path);
    openFiles.add(fd);
    const isSparse = entry.sparse !== undefined;
    return {
      write(chunk, position) {
        let done = 0;
        while (done < chunk.length) {
          done += writeSync(fd, chunk, done, chunk.length - done, isSparse ? position + done : null);
        }
      },
      end() {
        if (isSparse) ftruncateSync(fd, entry.size);
        // Owner before mode: chown clears setuid; attributes last: chown clears file capabilities.
        fchownSync(fd, entry.uid, entry.gid);
        fchmodSync(fd, entry.mode);
        if (entry.xattrs.size > 0) setXattrs(path, entry);
        calls.futimens(fd, entry.mtime.seconds, entry.mtime.nanoseconds);
        openFiles.delete(fd);
        closeSync(fd);
      },
    };
  }

  function openNew(path: string): number {
    const native = nativePath(path);
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    try {
      return openSync(native, flags, 0o600);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      clear(path, false);
      return openSync(native, flags, 0o600);
    }
  }
  const openFiles = new Set<number>();

  function setMetadata(path: string, entry: TarEntry): void {
    const native = nativePath(path);
    lchownSync(native, entry.uid, entry.gid);
    chmodSync(native, entry.mode);
    setXattrs(path, entry);
  }

  function setXattrs(path: string, entry: TarEntry): void {
    for (const [name, value] of entry.xattrs) {
      // These would steer the overlay mount itself (redirects, metadata-only copies, opaque marks).
      if (name.startsWith('trusted.overlay.') || name.startsWith('user.overlay.')) continue;
      try {
        calls.lsetxattr(path, name, value);
      } catch (error) {
        // The file system or this kernel has no such attribute: the file is still usable.
        if (!['ENOTSUP', 'EOPNOTSUPP', 'EPERM', 'EINVAL'].includes(errnoOf(error) ?? '')) throw error;
      }
    }
  }

  function guarded<T>(step: () => T): T {
    try {
      return step();
    } catch (error) {
      for (const fd of openFiles) closeSync(fd);
      openFiles.clear();
      throw ['ENOSPC', 'EDQUOT'].includes(errnoOf(error) ?? '') ? noSpace(error) : error;
    }
  }

  const reader = createTarReader(onEntry);
  return {
    reader: {
      write: (chunk) => guarded(() => reader.write(chunk)),
      end: () => guarded(() => reader.end()),
    },
    finish() {
      for (const [path, { seconds, nanoseconds }] of directoryTimes) calls.lutimens(path, seconds, nanoseconds);
      return { ...usage, implicitDirectories: [...implicit], isRootOpaque };
    },
  };
}

function noSpace(cause?: unknown): WindlassError {
  return new WindlassError('Unavailable', NO_SPACE, cause === undefined ? {} : { cause });
}
