// Copies of the embedded etcd in files, taken every few hours: what `windlass recover` starts from.
import { createWriteStream, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { compactTime, type Clock } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { EtcdClient } from './etcd-client.ts';

export interface SnapshotOptions {
  readonly folder: string;
  readonly intervalMs: number;
  /** How many are kept. */
  readonly keep: number;
}

const NAME = /^etcd-\d{8}T\d{6}Z\.db$/;
const PARTIAL = '.partial';
const RETRY_MS = 60_000;

/** `etcd-20260131T120000Z.db`: sorted by name is sorted by time. */
export const snapshotName = (ms: number): string => `etcd-${compactTime(ms)}.db`;

/** The snapshots of a folder, newest first; none when it does not exist. */
export function listSnapshots(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => NAME.test(name))
      .toSorted()
      .toReversed();
  } catch {
    return [];
  }
}

/** Takes one and removes those that are too many. Answers its path; half a snapshot never has a name of its own. */
export async function takeSnapshot(
  client: Pick<EtcdClient, 'maintenance'>,
  { folder, keep }: Pick<SnapshotOptions, 'folder' | 'keep'>,
  now: number,
  signal: AbortSignal,
): Promise<string> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(folder)) if (name.endsWith(PARTIAL)) rmSync(join(folder, name));
  const path = join(folder, snapshotName(now));
  const partial = `${path}${PARTIAL}`;
  try {
    await download(client, partial, signal);
    await syncFile(partial);
    renameSync(partial, path);
  } finally {
    rmSync(partial, { force: true });
  }
  for (const name of listSnapshots(folder).slice(keep)) rmSync(join(folder, name));
  return path;
}

/** The stream ends with the SHA-256 of what came before it, which stands at the end of the file. */
async function download(client: Pick<EtcdClient, 'maintenance'>, path: string, signal: AbortSignal): Promise<void> {
  // A gRPC client stream, which the type of the library hides.
  const stream = (await client.maintenance.snapshot()) as unknown as Readable;
  const blobs = async function* (): AsyncGenerator<Buffer> {
    for await (const { blob } of stream as AsyncIterable<{ blob: Buffer }>) yield blob;
  };
  await pipeline(blobs, createWriteStream(path, { mode: 0o600 }), { signal });
}

async function syncFile(path: string): Promise<void> {
  const handle = await open(path);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Takes snapshots until `signal` fires; the first soon, unless there is one that is younger than the interval. */
export async function runSnapshots(
  { client, clock, log }: { client: Pick<EtcdClient, 'maintenance'>; clock: Clock; log: Logger },
  options: SnapshotOptions,
  signal: AbortSignal,
): Promise<void> {
  const { folder, intervalMs } = options;
  const newest = listSnapshots(folder)[0];
  let dueAt =
    newest === undefined
      ? clock.now() + Math.min(intervalMs, RETRY_MS)
      : statSync(join(folder, newest)).mtimeMs + intervalMs;
  while (!signal.aborted) {
    await clock.sleep(Math.max(dueAt - clock.now(), 0), signal).catch(() => undefined);
    if (signal.aborted) return;
    try {
      const path = await takeSnapshot(client, options, clock.now(), signal);
      log.info({ path, bytes: statSync(path).size }, 'took a snapshot of the store');
      dueAt = clock.now() + intervalMs;
    } catch (error) {
      if (signal.aborted) return;
      log.error({ err: messageOf(error) }, 'failed to take a snapshot of the store');
      dueAt = clock.now() + RETRY_MS;
    }
  }
}
