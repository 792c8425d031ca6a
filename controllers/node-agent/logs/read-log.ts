// Reads the log of one attempt of a container: tail, since, time stamps, byte limit, and following across rotation.
import { watch } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoOf } from '../../../lib/errors.ts';
import { listAttemptFiles } from './log-files.ts';
import { parseLogLine } from './log-line.ts';
import type { LogOptions } from './log-options.ts';
import { findTailOffset } from './tail-offset.ts';

const BLOCK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;
/** inotify can drop or merge events, so a follower also looks by itself now and then. */
const LOOK_AGAIN_MS = 1000;

export interface LogSource {
  readonly directory: string;
  readonly attempt: number;
  /** False once no further line can come; a follower then ends at the end of the file. */
  readonly isRunning: () => boolean;
  /** Calls back when isRunning() may have changed, until the returned function is called. */
  readonly subscribe?: (onChange: () => void) => () => void;
}

/** The bytes a reader of the log gets, in pieces; ends when there is no more, or with `signal`. */
export async function* readLog(source: LogSource, options: LogOptions, signal: AbortSignal): AsyncGenerator<Buffer> {
  let left = options.limitBytes ?? Number.POSITIVE_INFINITY;
  for await (const piece of formatLines(readEntries(source, options, signal), options)) {
    if (piece.length >= left) {
      yield piece.subarray(0, left);
      return;
    }
    left -= piece.length;
    yield piece;
  }
}

async function* formatLines(entries: AsyncIterable<Buffer[]>, options: LogOptions): AsyncGenerator<Buffer> {
  const continued = { stdout: false, stderr: false };
  for await (const lines of entries) {
    const pieces: Buffer[] = [];
    for (const raw of lines) {
      const line = parseLogLine(raw);
      if (!line) continue;
      const isStart = !continued[line.stream];
      continued[line.stream] = line.partial;
      if (options.sinceMs !== undefined && Date.parse(line.timestamp) < options.sinceMs) continue;
      if (options.timestamps && isStart) pieces.push(Buffer.from(`${line.timestamp} `));
      pieces.push(line.content);
      if (!line.partial) pieces.push(Buffer.from('\n'));
    }
    if (pieces.length > 0) yield Buffer.concat(pieces);
  }
}

async function* readEntries(source: LogSource, options: LogOptions, signal: AbortSignal): AsyncGenerator<Buffer[]> {
  const files = await listAttemptFiles(source.directory, source.attempt);
  const live = join(source.directory, `${source.attempt}.log`);
  const start = await findStart(files, options.tailLines);
  for (let index = start.fileIndex; index < files.length; index += 1) {
    const path = files[index] ?? live;
    const isLive = path === live;
    const file = await openIfThere(path);
    if (!file) continue;
    try {
      const offset = index === start.fileIndex ? start.offset : 0;
      if (isLive && options.follow) {
        yield* followFile(file, offset, source, live, signal);
        return;
      }
      yield* readToEnd(file, { offset, rest: Buffer.alloc(0) }, signal);
    } finally {
      await file.close();
    }
  }
  if (options.follow) yield* followFile(undefined, 0, source, live, signal);
}

interface Position {
  offset: number;
  /** Bytes of a line whose end has not been read yet. */
  rest: Buffer;
}

async function* readToEnd(file: FileHandle, position: Position, signal: AbortSignal): AsyncGenerator<Buffer[]> {
  const block = Buffer.alloc(BLOCK_BYTES);
  while (!signal.aborted) {
    const { bytesRead } = await file.read(block, 0, block.length, position.offset);
    if (bytesRead === 0) return;
    position.offset += bytesRead;
    const data = Buffer.concat([position.rest, block.subarray(0, bytesRead)]);
    const end = data.lastIndexOf(NEWLINE);
    position.rest = data.subarray(end + 1);
    if (end >= 0) yield splitLines(data.subarray(0, end));
  }
}

async function* followFile(
  opened: FileHandle | undefined,
  offset: number,
  source: LogSource,
  live: string,
  signal: AbortSignal,
): AsyncGenerator<Buffer[]> {
  const bell = createBell();
  const watcher = watch(dirname(live), { signal });
  watcher.on('change', bell.ring);
  watcher.on('error', bell.ring);
  const unsubscribe = source.subscribe?.(bell.ring);
  let file = opened;
  const position: Position = { offset, rest: Buffer.alloc(0) };
  let own = false;
  try {
    while (!signal.aborted) {
      // Asked before reading: what is written before the container ends is then always read.
      const running = source.isRunning();
      file ??= await openIfThere(live);
      if (file) yield* readToEnd(file, position, signal);
      if (file && (await isReplaced(file, live))) {
        yield* readToEnd(file, position, signal);
        if (own) await file.close();
        file = await openIfThere(live);
        own = true;
        position.offset = 0;
        position.rest = Buffer.alloc(0);
        continue;
      }
      if (!running) return;
      await bell.wait(LOOK_AGAIN_MS, signal);
    }
  } finally {
    unsubscribe?.();
    watcher.close();
    if (file && (own || !opened)) await file.close();
  }
}

/** Wakes one waiter; a ring while nobody waits is not lost. */
function createBell() {
  let hasRung = false;
  let wake = (): void => undefined;
  return {
    ring(): void {
      hasRung = true;
      wake();
    },
    async wait(timeoutMs: number, signal: AbortSignal): Promise<void> {
      const woken = Promise.withResolvers<void>();
      wake = woken.resolve;
      const timer = setTimeout(wake, timeoutMs);
      signal.addEventListener('abort', wake, { once: true });
      if (!hasRung && !signal.aborted) await woken.promise;
      clearTimeout(timer);
      signal.removeEventListener('abort', wake);
      hasRung = false;
    },
  };
}

/** Rotation renames the file and lets the runtime open a new one under the old name. */
async function isReplaced(file: FileHandle, path: string): Promise<boolean> {
  try {
    const [held, named] = await Promise.all([file.stat(), stat(path)]);
    return held.ino !== named.ino || held.dev !== named.dev;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

async function findStart(
  files: readonly string[],
  tailLines: number | undefined,
): Promise<{ fileIndex: number; offset: number }> {
  if (tailLines === undefined) return { fileIndex: 0, offset: 0 };
  let wanted = tailLines;
  for (let index = files.length - 1; index >= 0; index -= 1) {
    const file = await openIfThere(files[index] ?? '');
    if (!file) continue;
    try {
      const { size } = await file.stat();
      const { offset, found } = await findTailOffset(file, size, wanted);
      if (offset > 0 || found >= wanted || index === 0) return { fileIndex: index, offset };
      wanted -= found;
    } finally {
      await file.close();
    }
  }
  return { fileIndex: 0, offset: 0 };
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function splitLines(data: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  let start = 0;
  for (let end = data.indexOf(NEWLINE); end >= 0; end = data.indexOf(NEWLINE, start)) {
    lines.push(data.subarray(start, end));
    start = end + 1;
  }
  lines.push(data.subarray(start));
  return lines;
}
