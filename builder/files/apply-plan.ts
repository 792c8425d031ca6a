// Carries out a copy plan below a root that nobody else writes to. What exists at the destination is treated as BuildKit
// does: folders are merged and take the metadata of the source's, files and links are replaced, and a folder never becomes
// a file nor a file a folder.
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname, posix } from 'node:path';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { asStoreError } from '../../oci/ingest.ts';
import { bytePath, FILE_TYPE, nativePath, type FileSystemCalls } from '../../oci/layers/file-system-calls.ts';
import { identityOf } from './content-memo.ts';
import type { CopyPlan, PlannedEntry, PlannedSource } from './copy-plan.ts';
import { makeDirectories, resolveDestination, type Owner } from './destination.ts';
import { hashOpen, openFile } from './read-content.ts';
import { lookAt, textOf } from './source-path.ts';
import type { Unpacked } from './unpack-archive.ts';

/** Smaller ones are read and written in one go, larger ones copied by the kernel. */
const PIECE = 1024 * 1024;
const piece = Buffer.allocUnsafe(PIECE);

export interface ApplyContext {
  readonly calls: FileSystemCalls;
  /** Owner by --chown; undefined = each as planned. */
  readonly owner: Owner | undefined;
  readonly pause?: () => Promise<void> | undefined;
  /** Unpacks an archive into a folder and gives that as a source; undefined when the file is no archive. */
  readonly unpack: (source: PlannedSource) => Promise<Unpacked | undefined>;
}

/**
 * Writes everything in `plan` below `root`. Throws Conflict when a file is not what was planned, Invalid when the
 * destination cannot take it, Unavailable when the disk is full.
 */
export async function applyPlan(plan: CopyPlan, root: string, context: ApplyContext): Promise<void> {
  try {
    const mustBeFolder = plan.destination.endsWith('/');
    const singles = plan.sources.filter(({ isDirectory }) => !isDirectory).length + plan.files.length;
    for (const source of plan.sources) {
      using unpacked = source.isUnpacked ? await context.unpack(source) : undefined;
      await applySource(plan.destination, root, unpacked?.source ?? source, singles, context);
    }
    for (const file of plan.files) {
      if (/^\.{0,2}$|[/\0]/.test(file.name)) {
        throw new WindlassError('Invalid', `${JSON.stringify(file.name)} is no name for an inline file`);
      }
      const target = singleTarget(plan.destination, mustBeFolder, root, bytePath(file.name), singles, context.owner);
      writeInline(target, Buffer.from(file.content), file.mode, context.owner);
    }
  } catch (error) {
    throw applyError(root, error);
  }
}

async function applySource(
  destination: string,
  root: string,
  source: PlannedSource,
  singles: number,
  context: ApplyContext,
): Promise<void> {
  if (!source.isDirectory) {
    const entry = source.entries[0] as PlannedEntry;
    const target = singleTarget(destination, destination.endsWith('/'), root, source.name, singles, context.owner);
    const write = createWriter(source, target, context);
    write.entry(entry);
    return;
  }
  const folder = makeDirectories(root, destination, context.owner);
  const writer = createWriter(source, folder, context);
  for (const entry of source.entries) {
    writer.entry(entry);
    const waiting = context.pause?.();
    if (waiting) await waiting;
  }
  writer.finish();
}

/** Host path (byte string) that one file goes to. */
function singleTarget(
  destination: string,
  mustBeFolder: boolean,
  root: string,
  name: string,
  singles: number,
  owner: Owner | undefined,
): string {
  if (mustBeFolder) return `${makeDirectories(root, destination, owner)}/${name}`;
  makeDirectories(root, posix.dirname(destination), owner);
  const { hostPath, isFolder } = resolveDestination(root, destination);
  if (isFolder) return `${hostPath}/${name}`;
  if (singles > 1) {
    throw new WindlassError(
      'Invalid',
      `${singles} files cannot all become ${JSON.stringify(destination)}: the destination has to end with a /`,
    );
  }
  makeDirectories(root, shownIn(root, dirname(hostPath)), owner);
  return hostPath;
}

interface Writer {
  entry(entry: PlannedEntry): void;
  /** Sets the times of folders, which what was written to them changed. */
  finish(): void;
}

/** Writes entries below `target`, a folder for a source that is one; else `target` is what the one entry becomes. */
function createWriter(source: PlannedSource, target: string, { calls, owner }: ApplyContext): Writer {
  const folderTimes: [path: string, seconds: number][] = [];
  /** Where the entries of implied folders go that are links in the image. */
  const elsewhere = new Map<string, string>();

  function at(path: string): string {
    if (path === '') return target;
    for (let end = path.length; elsewhere.size > 0 && end > 0; end = path.lastIndexOf('/', end - 1)) {
      const folder = elsewhere.get(path.slice(0, end));
      if (folder !== undefined) return `${folder}${path.slice(end)}`;
    }
    return `${target}/${path}`;
  }

  /** True when an implied folder is there already, itself or by way of a link. */
  function isThere(path: string, entry: PlannedEntry): boolean {
    const found = lookAt(path);
    if (!found?.isSymbolicLink()) return found?.isDirectory() === true;
    const { hostPath, isFolder } = resolveDestination(textOf(target), textOf(entry.path));
    if (isFolder) elsewhere.set(entry.path, hostPath);
    return isFolder;
  }

  function setXattrs(path: string, entry: PlannedEntry): void {
    for (const [name, value] of entry.xattrs ?? []) {
      try {
        calls.lsetxattr(path, name, Buffer.from(value));
      } catch (error) {
        // The file system has no such attribute: the file is still usable.
        if (!['ENOTSUP', 'EOPNOTSUPP'].includes(errnoOf(error) ?? '')) throw error;
      }
    }
  }

  function makeFolder(path: string, entry: PlannedEntry): void {
    if (entry.isImplied && isThere(path, entry)) return;
    try {
      mkdirSync(nativePath(path), 0o700);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      if (!lookAt(path)?.isDirectory()) {
        if (!source.isArchive) throw cannotReplace(path, 'a folder');
        unlinkSync(nativePath(path));
        mkdirSync(nativePath(path), 0o700);
      }
    }
    lchownSync(nativePath(path), owner?.uid ?? entry.uid, owner?.gid ?? entry.gid);
    chmodSync(nativePath(path), entry.mode);
    setXattrs(path, entry);
    folderTimes.push([path, entry.mtimeSeconds]);
  }

  function makeFile(path: string, entry: PlannedEntry): void {
    const from = source.isDirectory ? `${source.origin}/${entry.path}` : source.origin;
    const fd = openFile(from);
    try {
      const isKnown = identityOf(fstatSync(fd, { bigint: true }), source.isContext) === entry.identity;
      if (!isKnown) throw changed(source, entry);
      const to = createFile(path);
      try {
        copyContent(fd, to, entry.sizeBytes ?? 0);
        const isSame = identityOf(fstatSync(fd, { bigint: true }), source.isContext) === entry.identity;
        if (!isSame || (entry.isFresh && hashOpen(to) !== entry.sha256)) throw changed(source, entry);
        // Owner before mode: chown clears setuid; attributes last: chown clears file capabilities.
        fchownSync(to, owner?.uid ?? entry.uid, owner?.gid ?? entry.gid);
        fchmodSync(to, entry.mode);
        setXattrs(path, entry);
        calls.futimens(to, entry.mtimeSeconds, 0);
      } finally {
        closeSync(to);
      }
    } finally {
      closeSync(fd);
    }
  }

  function write(path: string, entry: PlannedEntry): void {
    switch (entry.type) {
      case 'directory':
        return makeFolder(path, entry);
      case 'file':
        return makeFile(path, entry);
      case 'hardlink':
        return create(path, () => linkSync(nativePath(at(entry.linkName ?? '')), nativePath(path)));
      case 'symlink':
        create(path, () => symlinkSync(nativePath(entry.linkName ?? ''), nativePath(path)));
        lchownSync(nativePath(path), owner?.uid ?? entry.uid, owner?.gid ?? entry.gid);
        break;
      case 'char':
      case 'block':
      case 'fifo':
        create(path, () =>
          calls.mknod(path, FILE_TYPE[entry.type as 'char'] | 0o600, entry.major ?? 0, entry.minor ?? 0),
        );
        lchownSync(nativePath(path), owner?.uid ?? entry.uid, owner?.gid ?? entry.gid);
        chmodSync(nativePath(path), entry.mode);
        break;
    }
    setXattrs(path, entry);
    calls.lutimens(path, entry.mtimeSeconds, 0);
  }

  return {
    entry: (entry) => write(at(entry.path), entry),
    finish() {
      for (const [path, seconds] of folderTimes.toReversed()) calls.lutimens(path, seconds, 0);
    },
  };
}

/** Makes something at `path`, in place of a file or a link that is there. */
function create<T>(path: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
    if (lookAt(path)?.isDirectory()) throw cannotReplace(path, 'a file');
    unlinkSync(nativePath(path));
    return make();
  }
}

function createFile(path: string): number {
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  return create(path, () => openSync(nativePath(path), flags, 0o600));
}

function copyContent(from: number, to: number, size: number): void {
  if (size > PIECE) {
    // Shares the blocks where the file system can, and leaves the bytes in the kernel where not.
    copyFileSync(`/proc/self/fd/${from}`, `/proc/self/fd/${to}`, constants.COPYFILE_FICLONE);
    return;
  }
  for (let position = 0; position < size;) {
    const read = readSync(from, piece, 0, size - position, position);
    if (read === 0) return;
    for (let done = 0; done < read;) done += writeSync(to, piece, done, read - done, position + done);
    position += read;
  }
}

function writeInline(path: string, content: Buffer, mode: number, owner: Owner | undefined): void {
  const fd = createFile(path);
  try {
    for (let done = 0; done < content.length;) done += writeSync(fd, content, done);
    fchownSync(fd, owner?.uid ?? 0, owner?.gid ?? 0);
    fchmodSync(fd, mode);
  } finally {
    closeSync(fd);
  }
}

function changed(source: PlannedSource, entry: PlannedEntry): WindlassError {
  const name = entry.path === '' ? source.label : `${source.label}, in it ${JSON.stringify(textOf(entry.path))},`;
  return new WindlassError('Conflict', `source ${name} was changed while it was copied`);
}

function cannotReplace(path: string, by: 'a file' | 'a folder'): WindlassError {
  const problem = by === 'a file' ? 'is a folder and cannot become a file' : 'is no folder and cannot become one';
  return new WindlassError('Invalid', `${path} ${problem}`);
}

const shownIn = (root: string, path: string): string => textOf(path.slice(bytePath(root).length)) || '/';

/** Paths of the host mean nothing to whoever reads of a failed build. */
function applyError(root: string, error: unknown): unknown {
  const named = asStoreError('failed to copy', error);
  if (named instanceof WindlassError) {
    const message = named.message.replaceAll(`${root}/`, '/');
    return message === named.message ? named : new WindlassError(named.reason, message, { cause: error });
  }
  if (errnoOf(error) === 'ENAMETOOLONG') {
    return new WindlassError('Invalid', 'a path below the destination is longer than the kernel takes', {
      cause: error,
    });
  }
  return error;
}
