// Blobs on their way in. An upload is a file and, beside it, what it is for, so that it can be resumed after a broken
// connection and after a restart; the hash goes along with the bytes and is made anew from the file when it is lost.
//   <root>/uploads/<uuid>        the bytes so far
//   <root>/uploads/<uuid>.json   the repository and when it began
import { createHash, randomUUID, type Hash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { open, rm, statfs, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../../lib/clock.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { splitDigest, type Digest } from '../../oci/digest.ts';
import { asStoreError, MIN_FREE_BYTES, NO_SPACE, WRITE_BYTES, writeAll } from '../../oci/ingest.ts';
import { isRepositoryName } from '../names.ts';
import { refuse } from '../oci-errors.ts';
import type { RegistryStore } from './registry-store.ts';

export interface UploadLimits {
  /** Uploads that may be open at once. */
  readonly maxUploads: number;
  /** An upload that nobody has touched for this long is forgotten. */
  readonly idleMs: number;
}

export interface Upload {
  readonly id: string;
  readonly repository: string;
  /** Bytes that are there. */
  readonly offset: number;
}

export interface Chunk {
  readonly body: AsyncIterable<Buffer>;
  /** Where it begins, if the client said so. */
  readonly start?: number;
  /** How long it is, if the client said so. */
  readonly length?: number;
  /** Throws DENIED when an upload of so many bytes in all is too much. */
  readonly admit: (totalBytes: number) => void;
}

export interface Uploads {
  /** Begins an upload. TOOMANYREQUESTS when too many are open. `algorithm` is the one the digest will have. */
  start(repository: string, algorithm: 'sha256' | 'sha512'): Promise<Upload>;
  /** BLOB_UPLOAD_UNKNOWN when the repository has none of this id. */
  find(repository: string, id: string): Upload;
  /** Appends; what came before a failure stays. 416 when the chunk does not begin where the upload ends. */
  append(upload: Upload, chunk: Chunk): Promise<Upload>;
  /** Makes the bytes a blob of the repository. DIGEST_INVALID when they are not what `digest` says; the upload is over. */
  finish(upload: Upload, digest: Digest): Promise<void>;
  cancel(upload: Upload): Promise<void>;
  /** Forgets uploads that nobody has touched for too long. */
  expire(): Promise<number>;
  /** Counts bytes that come to the repository without an upload, until it is disposed: by then they are there, or not. */
  reserve(repository: string, bytes: number): Disposable;
  /** How many are open, and their bytes, announced and reserved ones included; for one repository, or all. */
  usage(repository?: string): { count: number; bytes: number };
  /** What usage() counts of one. */
  countedBytes(upload: Upload): number;
}

interface Session {
  readonly id: string;
  readonly repository: string;
  offset: number;
  /** Bytes that it will have with the chunk that is coming in. */
  announced: number;
  /** Undefined after a restart, until the file has been read. */
  hash: Hash | undefined;
  algorithm: 'sha256' | 'sha512';
  touchedAtMs: number;
  isBusy: boolean;
}

const sessionFile = z.object({ repository: z.string().refine(isRepositoryName) });
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** An upload that has waited this long gives way when too many are open. */
const STALE_MS = 5 * 60_000;

/** Opens the uploads below the store's folder; those of an earlier run can be resumed. */
export function openUploads(
  store: RegistryStore,
  { clock, log, limits }: { readonly clock: Clock; readonly log: Logger; readonly limits: UploadLimits },
): Uploads {
  const folder = join(store.content.root, 'uploads');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const sessions = new Map<string, Session>();
  const reserved = new Set<{ readonly repository: string; readonly bytes: number }>();
  const dataFile = (id: string): string => join(folder, id);
  const noteFile = (id: string): string => join(folder, `${id}.json`);

  for (const name of readdirSync(folder)) {
    const id = name.replace(/\.json$/, '');
    // A note without bytes is of one that was never begun, or is over.
    if (name !== id) {
      if (!existsSync(dataFile(id))) rmSync(noteFile(id), { force: true });
      continue;
    }
    try {
      if (!UUID.test(id)) throw new Error('its name is no UUID');
      const { repository } = sessionFile.parse(JSON.parse(readFileSync(noteFile(id), 'utf8')));
      const { size, mtimeMs } = statSync(dataFile(id));
      const state = {
        offset: size,
        announced: size,
        hash: undefined,
        algorithm: 'sha256' as const,
        touchedAtMs: mtimeMs,
      };
      sessions.set(id, { id, repository, ...state, isBusy: false });
    } catch (error) {
      log.warn({ upload: id, problem: (error as Error).message }, 'forgot an upload that cannot be resumed');
      rmSync(dataFile(id), { force: true });
      rmSync(noteFile(id), { force: true });
    }
  }

  const sessionOf = ({ repository, id }: { repository: string; id: string }): Session => {
    const session = sessions.get(id);
    // Of another repository is as good as unknown: who may write there is not who may write here.
    if (session?.repository !== repository) {
      throw refuse(
        'BLOB_UPLOAD_UNKNOWN',
        `upload ${JSON.stringify(id)} of repository ${repository} is not known: start again`,
      );
    }
    return session;
  };

  async function use<T>(upload: Upload, task: (session: Session) => Promise<T>): Promise<T> {
    const session = sessionOf(upload);
    if (session.isBusy) {
      throw refuse('BLOB_UPLOAD_INVALID', `upload ${session.id} is being written by another request`, { status: 409 });
    }
    session.isBusy = true;
    session.touchedAtMs = clock.now();
    try {
      return await task(session);
    } finally {
      session.isBusy = false;
      session.touchedAtMs = clock.now();
    }
  }

  async function drop({ id }: { readonly id: string }): Promise<void> {
    sessions.delete(id);
    await rm(dataFile(id), { force: true });
    await rm(noteFile(id), { force: true });
  }

  /** Makes room: of those that nobody has gone on with for a while, the one that has waited longest goes. */
  async function dropStalest(): Promise<void> {
    const before = clock.now() - STALE_MS;
    const stale = [...sessions.values()].filter(({ isBusy, touchedAtMs }) => !isBusy && touchedAtMs < before);
    const [stalest] = stale.toSorted((a, b) => a.touchedAtMs - b.touchedAtMs);
    if (stalest) await drop(stalest);
  }

  async function hashOf(session: Session, algorithm: 'sha256' | 'sha512'): Promise<Hash> {
    if (session.hash !== undefined && session.algorithm === algorithm) return session.hash;
    const hash = createHash(algorithm);
    await using file = await open(dataFile(session.id), 'r');
    for await (const chunk of file.createReadStream({ highWaterMark: WRITE_BYTES, autoClose: false })) {
      hash.update(chunk as Buffer);
    }
    session.hash = hash;
    session.algorithm = algorithm;
    return hash;
  }

  async function take(session: Session, chunk: Chunk): Promise<Upload> {
    if (chunk.start !== undefined && chunk.start !== session.offset) {
      throw refuse(
        'BLOB_UPLOAD_INVALID',
        `upload ${session.id} has ${session.offset} bytes: the chunk begins at ${chunk.start}`,
        { status: 416 },
      );
    }
    if (chunk.length !== undefined) {
      admit(session, session.offset + chunk.length, chunk);
      await requireSpace(folder, chunk.length);
    }
    const hash = await hashOf(session, session.algorithm);
    const before = session.offset;
    try {
      await receive(dataFile(session.id), session, hash, chunk);
    } catch (error) {
      // What did not reach the file is in the hash already.
      session.hash = undefined;
      session.offset = statSync(dataFile(session.id), { throwIfNoEntry: false })?.size ?? 0;
      throw error;
    }
    const received = session.offset - before;
    if (chunk.length !== undefined && received !== chunk.length) {
      await truncate(dataFile(session.id), before);
      session.hash = undefined;
      session.offset = before;
      throw refuse('SIZE_INVALID', `the chunk has ${received} bytes, its headers say ${chunk.length}`);
    }
    return view(session);
  }

  const view = ({ id, repository, offset }: Session): Upload => ({ id, repository, offset });

  return {
    async start(repository, algorithm) {
      if (sessions.size >= limits.maxUploads) await dropStalest();
      if (sessions.size >= limits.maxUploads) {
        throw refuse('TOOMANYREQUESTS', `${sessions.size} uploads are open, which is the most: try again later`);
      }
      const id = randomUUID();
      const state = { offset: 0, announced: 0, hash: createHash(algorithm), algorithm, touchedAtMs: clock.now() };
      const session: Session = { id, repository, ...state, isBusy: false };
      sessions.set(id, session);
      try {
        await writeFile(noteFile(id), JSON.stringify({ repository }), { mode: 0o600 });
        await writeFile(dataFile(id), '', { mode: 0o600 });
      } catch (error) {
        await drop(session);
        throw asStoreError(`failed to start an upload in ${folder}`, error);
      }
      return view(session);
    },
    find: (repository, id) => view(sessionOf({ repository, id })),
    append: (upload, chunk) =>
      use(upload, async (session) => {
        try {
          return await take(session, chunk);
        } catch (error) {
          // What does not fit would be in the way of all others until somebody gives it up.
          if (error instanceof WindlassError && error.details['code'] === 'DENIED') await drop(session);
          throw error;
        } finally {
          session.announced = session.offset;
        }
      }),
    finish: (upload, digest) =>
      use(upload, async (session) => {
        const { algorithm } = splitDigest(digest);
        const found = `${algorithm}:${(await hashOf(session, algorithm)).digest('hex')}`;
        if (found !== digest) {
          await drop(session);
          throw refuse('DIGEST_INVALID', `the bytes have digest ${found}, the request says ${digest}`);
        }
        using _held = store.hold(digest);
        try {
          if (!store.content.has(digest)) {
            await using file = await open(dataFile(session.id), 'r');
            await file.datasync();
            await store.content.adopt(dataFile(session.id), digest);
          }
          await store.linkBlob(session.repository, digest);
        } catch (error) {
          // The hash is spent, and the file may be a blob by now.
          await drop(session);
          throw asStoreError(`failed to keep blob ${digest}`, error);
        }
        await drop(session);
      }),
    cancel: (upload) => use(upload, drop),
    async expire() {
      const oldest = clock.now() - limits.idleMs;
      const idle = [...sessions.values()].filter(({ isBusy, touchedAtMs }) => !isBusy && touchedAtMs < oldest);
      for (const session of idle) await drop(session);
      return idle.length;
    },
    reserve(repository, bytes) {
      const reservation = { repository, bytes };
      reserved.add(reservation);
      return { [Symbol.dispose]: () => void reserved.delete(reservation) };
    },
    usage(repository) {
      let count = 0;
      let bytes = 0;
      for (const one of reserved) if (repository === undefined || one.repository === repository) bytes += one.bytes;
      for (const session of sessions.values()) {
        if (repository !== undefined && session.repository !== repository) continue;
        count += 1;
        bytes += countedBytes(session);
      }
      return { count, bytes };
    },
    countedBytes: (upload) => countedBytes(sessionOf(upload)),
  };
}

const countedBytes = ({ offset, announced }: Session): number => Math.max(offset, announced);

/** Counts the bytes as taken, or throws what `admit` throws. */
function admit(session: Session, totalBytes: number, chunk: Chunk): void {
  chunk.admit(totalBytes);
  session.announced = totalBytes;
}

/** Writes a body to the end of `path`, hashing it on the way; while one piece is written the next one comes in. */
async function receive(path: string, session: Session, hash: Hash, chunk: Chunk): Promise<void> {
  await using file = await open(path, 'a');
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  let writing: Promise<void> = Promise.resolve();
  const flush = async (): Promise<void> => {
    await writing;
    const chunks = pending;
    pending = [];
    pendingBytes = 0;
    writing = writeAll(file, chunks).catch((error: unknown) => {
      throw asStoreError(`failed to write an upload to ${path}`, error);
    });
    // Whoever waits for it next hears of a failure.
    writing.catch(() => undefined);
  };
  try {
    for await (const bytes of chunk.body) {
      if (chunk.length === undefined) {
        admit(session, session.offset + bytes.length, chunk);
        if (pendingBytes === 0) await requireSpace(path, bytes.length);
      }
      hash.update(bytes);
      session.offset += bytes.length;
      pending.push(bytes);
      pendingBytes += bytes.length;
      if (pendingBytes >= WRITE_BYTES) await flush();
    }
  } finally {
    // A connection that breaks off leaves what it has brought, to be gone on with.
    if (pendingBytes > 0) await flush();
    await writing;
  }
}

async function requireSpace(path: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(path);
  if (bavail * bsize < bytes + MIN_FREE_BYTES) {
    throw refuse('DENIED', `${NO_SPACE} of the registry for ${bytes} bytes more`, { status: 507 });
  }
}
