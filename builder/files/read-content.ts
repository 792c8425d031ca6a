// What a file holds, read once and remembered.
import { createHash, hash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync, type BigIntStats } from 'node:fs';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { nativePath, type FileSystemCalls } from '../../oci/layers/file-system-calls.ts';
import { keptXattrs } from '../../oci/layers/kept-xattrs.ts';
import { identityOf, isSettled, settlesInMs, type Content, type ContentMemo } from './content-memo.ts';

const PIECE = 1024 * 1024;
/**
 * To read so many bytes once more, as a file that is not settled has to be, takes longer than to wait until it is. Only the
 * thread reads files of this size (create-builder-files.ts): nothing else stands still meanwhile.
 */
const LARGE_BYTES = 128 * 1024 * 1024;
/** One for each thread: nothing is read into it across an await. */
const piece = Buffer.allocUnsafe(PIECE);

export interface FileContent extends Content {
  /** Of the file as it was opened. */
  readonly stat: BigIntStats;
  readonly identity: string;
  /** It was changed so shortly before that its identity does not tell of a further change. */
  readonly isFresh: boolean;
}

export interface ContentReader {
  /** From the memo, or by reading the file at `path`; Conflict when it changes meanwhile or is no file any more. */
  read(path: string, stat: BigIntStats, isContext: boolean): FileContent;
}

/** `onRead` is told, before a file is read, how many bytes it has. */
export function createContentReader(
  memo: ContentMemo,
  calls: FileSystemCalls,
  onRead: (bytes: number) => void,
): ContentReader {
  return {
    read(path, stat, isContext) {
      const identity = identityOf(stat, isContext);
      const known = memo.find(identity);
      if (known) return { ...known, stat, identity, isFresh: false };
      onRead(Number(stat.size));
      const fd = openFile(path);
      try {
        if (stat.size >= LARGE_BYTES) pauseThread(settlesInMs(stat, Date.now()));
        const opened = fstatSync(fd, { bigint: true });
        if (!opened.isFile()) throw changed(path);
        const openedAs = identityOf(opened, isContext);
        const isFresh = !isSettled(opened, Date.now());
        const content = { sha256: hashOpen(fd), hasXattrs: keptXattrs(calls.readXattrs(path)).size > 0 };
        if (identityOf(fstatSync(fd, { bigint: true }), isContext) !== openedAs) throw changed(path);
        if (!isFresh) memo.remember(openedAs, content);
        return { ...content, stat: opened, identity: openedAs, isFresh };
      } finally {
        closeSync(fd);
      }
    },
  };
}

function pauseThread(durationMs: number): void {
  if (durationMs > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, durationMs);
}

/** Opens a file for reading, never a link and never waiting for the other end of a pipe. */
export function openFile(path: string): number {
  try {
    return openSync(nativePath(path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO'].includes(errnoOf(error) ?? '')) throw changed(path);
    throw error;
  }
}

/** SHA-256 in hex of an open file, from its start. */
export function hashOpen(fd: number): string {
  const first = readSync(fd, piece, 0, PIECE, 0);
  if (first < PIECE) {
    // A short read is the whole file but for one that is being written to, which its times tell.
    if (readSync(fd, piece, first, PIECE - first, first) === 0) return hash('sha256', piece.subarray(0, first), 'hex');
  }
  const running = createHash('sha256');
  for (let position = 0; ;) {
    const read = readSync(fd, piece, 0, PIECE, position);
    if (read === 0) return running.digest('hex');
    running.update(piece.subarray(0, read));
    position += read;
  }
}

function changed(path: string): WindlassError {
  const name = path.slice(path.lastIndexOf('/') + 1);
  return new WindlassError('Conflict', `${JSON.stringify(name)} was changed while it was read`);
}
