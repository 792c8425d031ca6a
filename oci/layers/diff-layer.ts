// The upper directory of an overlay as a layer's tar (OCI image specification, "Image Layer Filesystem Changeset"): what
// was added or changed, and whiteouts for what is gone. The same tree gives the same bytes.
import { closeSync, constants, lstatSync, openSync, readdirSync, readlinkSync, type BigIntStats } from 'node:fs';
import { open, rm, type FileHandle } from 'node:fs/promises';
import { WindlassError } from '../../lib/errors.ts';
import type { Digest } from '../digest.ts';
import { asStoreError } from '../ingest.ts';
import { bytePath, nativePath, type FileSystemCalls } from './file-system-calls.ts';
import { keptXattrs } from './kept-xattrs.ts';
import { createLayerFile, type LayerFile } from './layer-file.ts';
import { deviceNumbers, wholeSeconds } from './stat-fields.ts';
import { encodeTarHeader, endOfArchive, type TarHeaderFields } from './tar-writer.ts';

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
const OVERLAY_OPAQUE = 'trusted.overlay.opaque';
/** Marks of mount options that builds never use; with one of them the directory alone does not tell what it holds. */
const FOREIGN_MARKS = ['trusted.overlay.redirect', 'trusted.overlay.metacopy'];
/** Longest name that is unpacked again (tar-entry.ts). */
const MAX_NAME_BYTES = 4096;
/** Half of PATH_MAX: below a longer path, folders are reached by way of an open one. */
const LONG_PATH = 2048;
const BLOCK_BYTES = 512;

export interface LayerOptions {
  /** Every later modification time becomes this one, in the tar and in the directory. */
  readonly clampSeconds?: number;
  /** What the root was like below: it is an entry of the layer when its own owner or mode differs. Absent = never. */
  readonly base?: { readonly mode: number; readonly uid: number; readonly gid: number };
  /** Whether the file has reached the disk on return; true unless said. */
  readonly flush?: boolean;
}

export interface WriteLayerOptions extends LayerOptions {
  readonly calls: FileSystemCalls;
  /** Asked after each entry; what it returns is waited for, so that others get their turn. */
  readonly pause?: () => Promise<void> | undefined;
}

export interface WrittenLayer {
  /** Digest of the file. */
  readonly diffId: Digest;
  readonly sizeBytes: number;
  readonly entries: number;
  /** Nothing was changed: the tar has no entry. */
  readonly isEmpty: boolean;
  /** What the directory takes on disk, itself included. */
  readonly usedBytes: number;
  readonly inodes: number;
  /** The layer hides everything below it. */
  readonly isRootOpaque: boolean;
}

/**
 * Writes the tar of `upperDir`, which nobody else changes meanwhile, to the new file `target`; deleted again on failure.
 *
 * Entries are sorted bytewise, folder by folder. Names, types, modes, numbers of owners, contents, link targets, device
 * numbers, hard links within the layer and kept-xattrs.ts are in it; sockets are left out. Times are whole seconds, and
 * become so in the directory as well: it then equals what unpacking the tar gives.
 * Throws Invalid for what a layer cannot hold, Unavailable when the disk is full.
 */
export async function writeLayer(upperDir: string, target: string, options: WriteLayerOptions): Promise<WrittenLayer> {
  const file = await create(target);
  const tar = createLayerFile(file);
  try {
    const tally = await writeTree(bytePath(upperDir), tar, options);
    await tar.put(endOfArchive());
    const written = await tar.finish();
    if (options.flush !== false) await file.datasync();
    await file.close();
    return { ...written, ...tally, isEmpty: tally.entries === 0 };
  } catch (error) {
    await tar.settle();
    await file.close().catch(() => undefined);
    await rm(target, { force: true });
    throw asStoreError(`failed to write the layer of ${upperDir}`, error);
  }
}

async function create(target: string): Promise<FileHandle> {
  try {
    return await open(target, 'wx', 0o600);
  } catch (error) {
    throw asStoreError(`failed to make the file of a layer, ${target}`, error);
  }
}

type Tally = Pick<WrittenLayer, 'entries' | 'usedBytes' | 'inodes' | 'isRootOpaque'>;

interface Folder {
  /** How its entries are reached: its path, or that of its open descriptor. */
  readonly base: string;
  readonly fd: number | undefined;
  /** Its name in the tar, ending in `/`; '' = the root. */
  readonly name: string;
  /** What is left of it, last first. */
  readonly todo: Entry[];
}

interface Entry {
  /** In the folder. */
  readonly name: string;
  /** In the tar, which differs for a whiteout. */
  readonly tarName: string;
  readonly stat: BigIntStats;
}

async function writeTree(root: string, tar: LayerFile, options: WriteLayerOptions): Promise<Tally> {
  const { calls, clampSeconds = Number.POSITIVE_INFINITY, pause } = options;
  const linked = new Map<bigint, string>();
  const folders: Folder[] = [];
  const tally = { entries: 0, usedBytes: 0, inodes: 0, isRootOpaque: false };

  /** The time of an entry, which becomes the time of the file as well. */
  function settleTime(path: string, stat: BigIntStats): number {
    const seconds = Math.min(wholeSeconds(stat.mtimeNs), clampSeconds);
    if (BigInt(seconds) * 1_000_000_000n !== stat.mtimeNs) calls.lutimens(path, seconds, 0);
    return seconds;
  }

  function put(fields: TarHeaderFields): Promise<void> | undefined {
    if (fields.name.length > MAX_NAME_BYTES) {
      throw new WindlassError(
        'Invalid',
        `a path of ${fields.name.length} bytes is longer than the ${MAX_NAME_BYTES} of a layer: ${shown(fields.name)}`,
      );
    }
    tally.entries += 1;
    return tar.put(encodeTarHeader(fields));
  }

  async function enter(path: string, name: string, xattrs: ReadonlyMap<string, Buffer>): Promise<void> {
    for (const mark of FOREIGN_MARKS) {
      if (xattrs.has(mark)) throw new WindlassError('Internal', `${shown(path)} has the mark ${mark}`);
    }
    if (xattrs.get(OVERLAY_OPAQUE)?.toString('latin1') === 'y') {
      if (name === '') tally.isRootOpaque = true;
      await put({ name: `${name}${OPAQUE}`, type: 'file' });
    }
    const fd = path.length > LONG_PATH ? openFolder(path) : undefined;
    const base = fd === undefined ? path : `/proc/self/fd/${fd}`;
    const entries = readdirSync(nativePath(base), { encoding: 'latin1' }).map((entry) => describe(base, entry));
    folders.push({ base, fd, name, todo: entries.toSorted((a, b) => (a.tarName < b.tarName ? 1 : -1)) });
  }

  async function write(folder: Folder, { name, tarName, stat }: Entry): Promise<void> {
    const path = `${folder.base}/${name}`;
    if (stat.isSocket()) return;
    const isLinked = !stat.isDirectory() && stat.nlink > 1n;
    const first = isLinked ? linked.get(stat.ino) : undefined;
    if (first === undefined) {
      tally.inodes += 1;
      tally.usedBytes += Number(stat.blocks) * BLOCK_BYTES;
    }
    if (tarName !== name) return put({ name: `${folder.name}${tarName}`, type: 'file' });
    const all = calls.readXattrs(path);
    const fields = {
      name: `${folder.name}${name}`,
      mode: Number(stat.mode) & 0o7777,
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      mtime: { seconds: settleTime(path, stat), nanoseconds: 0 },
      xattrs: keptXattrs(all),
    };
    if (stat.isDirectory()) {
      await put({ ...fields, name: `${fields.name}/`, type: 'directory' });
      return enter(path, `${fields.name}/`, all);
    }
    if (first !== undefined) return put({ ...fields, type: 'hardlink', linkName: first });
    if (isLinked) linked.set(stat.ino, fields.name);
    if (stat.isFile()) return writeFile(path, { ...fields, type: 'file', size: Number(stat.size) }, all);
    if (stat.isSymbolicLink()) {
      return put({ ...fields, type: 'symlink', linkName: readlinkSync(nativePath(path), { encoding: 'latin1' }) });
    }
    if (stat.isFIFO()) return put({ ...fields, type: 'fifo' });
    return put({ ...fields, type: stat.isBlockDevice() ? 'block' : 'char', ...deviceNumbers(stat.rdev) });
  }

  async function writeFile(
    path: string,
    fields: TarHeaderFields & { size: number },
    all: ReadonlyMap<string, Buffer>,
  ): Promise<void> {
    if (all.has('trusted.overlay.metacopy')) {
      throw new WindlassError('Internal', `${shown(path)} has the mark trusted.overlay.metacopy`);
    }
    const waiting = put(fields);
    if (waiting) await waiting;
    if (fields.size === 0) return;
    const fd = openSync(nativePath(path), constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      const reading = tar.putContent(fd, fields.size);
      if (reading) await reading;
    } finally {
      closeSync(fd);
    }
  }

  try {
    const stat = lstatSync(nativePath(root), { bigint: true });
    tally.inodes = 1;
    tally.usedBytes = Number(stat.blocks) * BLOCK_BYTES;
    const own = { mode: Number(stat.mode) & 0o7777, uid: Number(stat.uid), gid: Number(stat.gid) };
    const seconds = settleTime(root, stat);
    const { base } = options;
    if (base && (base.mode !== own.mode || base.uid !== own.uid || base.gid !== own.gid)) {
      await put({ ...own, name: './', type: 'directory', mtime: { seconds, nanoseconds: 0 } });
    }
    await enter(root, '', calls.readXattrs(root));
    for (let folder = folders.at(-1); folder; folder = folders.at(-1)) {
      const entry = folder.todo.pop();
      if (entry) {
        await write(folder, entry);
        const waiting = pause?.();
        if (waiting) await waiting;
      } else {
        folders.pop();
        if (folder.fd !== undefined) closeSync(folder.fd);
      }
    }
    return tally;
  } finally {
    for (const { fd } of folders) if (fd !== undefined) closeSync(fd);
  }
}

function describe(base: string, name: string): Entry {
  const stat = lstatSync(nativePath(`${base}/${name}`), { bigint: true });
  if (stat.isCharacterDevice() && stat.rdev === 0n) return { name, tarName: `${WHITEOUT}${name}`, stat };
  if (name.startsWith(WHITEOUT)) {
    throw new WindlassError('Invalid', `a file named ${shown(name)} cannot be in a layer: it would delete another one`);
  }
  return { name, tarName: name, stat };
}

function openFolder(path: string): number {
  return openSync(nativePath(path), constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
}

function shown(bytes: string): string {
  return JSON.stringify(bytes.length > 200 ? `${bytes.slice(0, 200)}...` : bytes);
}
