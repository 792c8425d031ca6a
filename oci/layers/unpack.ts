// One layer blob -> directory: decompress, hash and apply in one pass. Runs in a worker thread (file calls are
// synchronous there, inflating happens in libuv's pool beside them).
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { digestMismatch, type Digest } from '../digest.ts';
import type { Compression } from '../media-types.ts';
import { createLayerApplier, DEFAULT_APPLY_OPTIONS, type ApplyOptions, type ApplyResult } from './apply.ts';
import { bytePath, type FileSystemCalls } from './file-system-calls.ts';
import type { WholeGzip } from './inflate-gzip.ts';
import type { TarReader } from './tar-reader.ts';
import { decompressZstd } from './zstd-frames.ts';

const CHUNK = 1024 * 1024;
/** A layer may grow to this many times its compressed size, once it is larger than the floor. */
const MAX_RATIO = 200;
const RATIO_FLOOR_BYTES = 1024 ** 3;

export interface UnpackRequest {
  readonly blobPath: string;
  /** Names the layer in errors. */
  readonly digest: string;
  readonly compression: Compression;
  /** Digest the uncompressed tar must have; undefined = not checked. */
  readonly diffId: Digest | undefined;
  /** Existing empty directory. */
  readonly target: string;
  readonly options?: Partial<ApplyOptions>;
}

/**
 * Unpacks one layer; throws Invalid (naming the layer) for anything wrong in it, Unavailable when the disk is full.
 * `whole` does small gzip layers in one go; what it leaves is streamed.
 */
export async function unpackLayer(
  request: UnpackRequest,
  calls: FileSystemCalls,
  whole?: WholeGzip,
): Promise<ApplyResult> {
  const options = { ...DEFAULT_APPLY_OPTIONS, ...request.options };
  const applier = createLayerApplier(bytePath(request.target), calls, options);
  try {
    const tar = request.compression === 'gzip' ? whole?.read(request.blobPath) : undefined;
    if (tar !== undefined) {
      const hash = createHash(algorithmOf(request.diffId)).update(tar);
      if (request.diffId !== undefined) checkDiffId(request.diffId, hash.digest('hex'));
      applier.reader.write(tar);
      applier.reader.end();
    } else {
      await streamLayer(request, applier.reader);
    }
    return applier.finish();
  } catch (error) {
    throw layerError(request.digest, error);
  }
}

async function streamLayer(request: UnpackRequest, reader: TarReader): Promise<void> {
  const hash = createHash(algorithmOf(request.diffId));
  const { size } = await statOf(request.blobPath);
  const maxTarBytes = request.compression === 'none' ? Infinity : Math.max(RATIO_FLOOR_BYTES, size * MAX_RATIO);
  let total = 0;
  const file = createReadStream(request.blobPath, { highWaterMark: CHUNK });
  for await (const chunk of decompress(file, request.compression)) {
    total += chunk.length;
    if (total > maxTarBytes) {
      throw new WindlassError('Invalid', `unpacks to more than ${MAX_RATIO} times its size of ${size} bytes`);
    }
    hash.update(chunk);
    reader.write(chunk);
  }
  reader.end();
  if (request.diffId !== undefined) checkDiffId(request.diffId, hash.digest('hex'));
}

const algorithmOf = (digest: Digest | undefined): 'sha256' | 'sha512' =>
  digest?.startsWith('sha512:') ? 'sha512' : 'sha256';

function checkDiffId(want: Digest, foundHex: string): void {
  const found = `${algorithmOf(want)}:${foundHex}`;
  if (found !== want) throw digestMismatch('its tar', want, found);
}

/** `source` with `compression` undone; undefined when there is nothing to undo. */
export async function* decompress(source: Readable, compression: Compression): AsyncGenerator<Buffer> {
  if (compression === 'zstd') {
    yield* decompressZstd(source);
  } else if (compression === 'gzip') {
    const inflate = createGunzip({ chunkSize: CHUNK });
    // A failure of either stream ends the iteration below, which is where it is thrown.
    pipeline(source, inflate, () => undefined);
    yield* inflate as AsyncIterable<Buffer>;
  } else {
    yield* source as AsyncIterable<Buffer>;
  }
}

/** What a file's first bytes say about its compression. */
export async function detectCompression(path: string): Promise<Compression> {
  const file = await open(path);
  try {
    const magic = Buffer.alloc(4);
    await file.read(magic, 0, 4, 0);
    if (magic[0] === 0x1f && magic[1] === 0x8b) return 'gzip';
    return magic.readUInt32LE(0) === 0xfd2fb528 ? 'zstd' : 'none';
  } finally {
    await file.close();
  }
}

async function statOf(path: string): Promise<{ size: number }> {
  const file = await open(path);
  try {
    return await file.stat();
  } finally {
    await file.close();
  }
}

function layerError(digest: string, error: unknown): WindlassError {
  if (error instanceof WindlassError) {
    return new WindlassError(error.reason, `layer ${digest}: ${error.message}`, {
      details: error.details,
      cause: error,
    });
  }
  const code = errnoOf(error) ?? '';
  const isData = code.startsWith('Z_') || code.startsWith('ZSTD_') || code.startsWith('ERR_ZSTD');
  return new WindlassError(
    isData ? 'Invalid' : 'Internal',
    `layer ${digest}: ${isData ? 'its compressed data is damaged' : (error as Error).message}`,
    { cause: error },
  );
}
