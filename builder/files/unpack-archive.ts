// ADD of an archive: unpacked into a folder of the build by the extractor of layers, with its limits, and copied from there.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, fstatSync, mkdirSync, read, readSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { createLayerApplier, DEFAULT_APPLY_OPTIONS, type ApplyOptions } from '../../oci/layers/apply.ts';
import { bytePath, type FileSystemCalls } from '../../oci/layers/file-system-calls.ts';
import { BLOCK, decodeHeader } from '../../oci/layers/tar-header.ts';
import { decompress } from '../../oci/layers/unpack.ts';
import { findProgram } from '../../runtime-shim/oci-runtime/runtime.ts';
import { identityOf } from './content-memo.ts';
import type { PlannedEntry, PlannedSource } from './copy-plan.ts';
import { createEntryReader } from './planned-entry.ts';
import { openFile } from './read-content.ts';
import { openSource } from './source-path.ts';
import { walkSource } from './walk-source.ts';
import { createIgnoreRules } from './ignore.ts';

const readPiece = promisify(read);
const CHUNK = 1024 * 1024;
/** What is unpacked between two pauses. */
const SLICE = 64 * 1024;
/** An archive may grow to this many times its size, once it is larger than the floor. */
const MAX_RATIO = 200;
const RATIO_FLOOR_BYTES = 1024 ** 3;
const MAX_XZ_MEMORY = '512MiB';

type Packing = 'none' | 'gzip' | 'zstd' | 'bzip2' | 'xz';

const MAGIC: readonly (readonly [Packing, RegExp])[] = [
  ['gzip', /^1f8b08/],
  ['zstd', /^28b52ffd/],
  // The mark of a block as well: the first three letters are those of many a text.
  ['bzip2', /^425a683[1-9]314159265359/],
  ['xz', /^fd377a585a00/],
];

/** What was in an archive, as a source, until it is disposed of. */
export interface Unpacked extends Disposable {
  readonly source: PlannedSource;
}

export interface UnpackOptions {
  readonly limits?: Partial<ApplyOptions>;
  readonly pause?: () => Promise<void> | undefined;
}

/**
 * Unpacks the one file of `source` below `workDir`; undefined when it is no tar, packed or not. Throws Invalid for a
 * damaged one, or one that exceeds the limits, naming it.
 */
export async function unpackArchive(
  source: PlannedSource,
  workDir: string,
  calls: FileSystemCalls,
  { limits, pause }: UnpackOptions = {},
): Promise<Unpacked | undefined> {
  const entry = source.entries[0] as PlannedEntry;
  const target = join(workDir, `unpack-${randomUUID()}`);
  const fd = openFile(source.origin);
  try {
    const stat = fstatSync(fd, { bigint: true });
    if (identityOf(stat, source.isContext) !== entry.identity) {
      throw new WindlassError('Conflict', `source ${source.label} was changed while it was copied`);
    }
    const tar = unpacked(fd, source.label)[Symbol.asyncIterator]();
    try {
      const head = await readHead(tar);
      if (!isTarHeader(head)) return undefined;
      mkdirSync(target, { mode: 0o755 });
      const options = { ...DEFAULT_APPLY_OPTIONS, ...limits, hasWhiteouts: false };
      const applier = createLayerApplier(bytePath(target), calls, options);
      const maxBytes = Math.max(RATIO_FLOOR_BYTES, Number(stat.size) * MAX_RATIO);
      let total = 0;
      for (let chunk: Buffer | undefined = head; chunk; chunk = (await tar.next()).value as Buffer | undefined) {
        total += chunk.length;
        if (total > maxBytes) throw new WindlassError('Invalid', `it unpacks to more than ${MAX_RATIO} times its size`);
        for (let at = 0; at < chunk.length; at += SLICE) {
          applier.reader.write(chunk.subarray(at, at + SLICE));
          const waiting = pause?.();
          if (waiting) await waiting;
        }
      }
      applier.reader.end();
      const { implicitDirectories } = applier.finish();
      return {
        source: { ...source, ...planUnpacked(target, calls, new Set(implicitDirectories)) },
        [Symbol.dispose]: () => rmSync(target, { recursive: true, force: true }),
      };
    } finally {
      await tar.return?.(undefined);
    }
  } catch (error) {
    rmSync(target, { recursive: true, force: true });
    throw archiveError(source.label, error);
  } finally {
    closeSync(fd);
  }
}

function planUnpacked(
  root: string,
  calls: FileSystemCalls,
  implicit: ReadonlySet<string>,
): Pick<PlannedSource, 'origin' | 'isContext' | 'isDirectory' | 'isUnpacked' | 'isArchive' | 'entries'> {
  const tree = { root, label: 'the archive', isContext: false, ignore: [] };
  const rules = createIgnoreRules([]);
  using top = openSource(tree, rules, []);
  const read = createEntryReader({ calls, tree });
  const entries: PlannedEntry[] = [];
  for (const found of top ? walkSource(top, []) : []) {
    const entry = read(found);
    entries.push(implicit.has(entry.path) ? { ...entry, isImplied: true } : entry);
  }
  return { origin: bytePath(root), isContext: false, isDirectory: true, isUnpacked: false, isArchive: true, entries };
}

async function* unpacked(fd: number, label: string): AsyncGenerator<Buffer> {
  const packing = packingOf(readStart(fd));
  if (packing === 'bzip2' || packing === 'xz') {
    yield* filterThrough(packing, fd, label);
    return;
  }
  yield* decompress(Readable.from(pieces(fd)), packing);
}

/** Reads an open file that stays open, which a stream would close. */
async function* pieces(fd: number): AsyncGenerator<Buffer> {
  for (let position = 0; ;) {
    const { bytesRead, buffer } = await readPiece(fd, Buffer.allocUnsafe(CHUNK), 0, CHUNK, position);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
    position += bytesRead;
  }
}

/** What Debian's program of that name makes of the file. */
async function* filterThrough(packing: 'bzip2' | 'xz', fd: number, label: string): AsyncGenerator<Buffer> {
  const program = findProgram(packing);
  if (program === undefined) {
    throw new WindlassError(
      'Invalid',
      `${label} is compressed with ${packing}, and no program ${packing} is installed`,
    );
  }
  const limit = packing === 'xz' ? [`--memlimit-decompress=${MAX_XZ_MEMORY}`] : [];
  const child = spawn(program, [...limit, '--decompress', '--stdout'], {
    stdio: [fd, 'pipe', 'pipe'],
    env: { LC_ALL: 'C' },
  });
  const ended = new Promise<{ code: number | null; error?: Error }>((resolve) => {
    child.once('error', (error) => resolve({ code: null, error }));
    child.once('close', (code) => resolve({ code }));
  });
  let complaint = '';
  child.stderr?.on('data', (text) => (complaint = `${complaint}${String(text)}`.slice(0, 500)));
  try {
    yield* child.stdout as AsyncIterable<Buffer>;
    const { code, error } = await ended;
    if (code !== 0) {
      throw new DamagedFile(`${packing} failed: ${error?.message ?? complaint.trim()}`);
    }
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}

/** The first block and what came with it; empty for what cannot even be decompressed so far. */
async function readHead(tar: AsyncIterator<Buffer>): Promise<Buffer> {
  let head = Buffer.alloc(0);
  try {
    while (head.length < BLOCK) {
      const next = await tar.next();
      if (next.done === true) break;
      head = Buffer.concat([head, next.value]);
    }
    return head;
  } catch (error) {
    if (isDamage(error) || error instanceof DamagedFile) return Buffer.alloc(0);
    throw error;
  }
}

function isTarHeader(block: Buffer): boolean {
  if (block.length < BLOCK) return false;
  try {
    return decodeHeader(block, 0) !== undefined;
  } catch (error) {
    if (error instanceof WindlassError) return false;
    throw error;
  }
}

function readStart(fd: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  return block.subarray(0, readSync(fd, block, 0, BLOCK, 0));
}

function packingOf(start: Buffer): Packing {
  const hex = start.toString('hex', 0, 16);
  return MAGIC.find(([, magic]) => magic.test(hex))?.[0] ?? 'none';
}

function archiveError(label: string, error: unknown): unknown {
  if (isDamage(error)) {
    return new WindlassError('Invalid', `archive ${label}: its compressed data is damaged`, { cause: error });
  }
  if (error instanceof DamagedFile) {
    return new WindlassError('Invalid', `archive ${label}: ${error.message}`, { cause: error });
  }
  if (!(error instanceof WindlassError) || error.reason === 'Conflict') return error;
  return new WindlassError(error.reason, `archive ${label}: ${error.message}`, { cause: error });
}

const isDamage = (error: unknown): boolean => /^(Z_|ZSTD_|ERR_ZSTD)/.test(errnoOf(error) ?? '');

class DamagedFile extends Error {}
