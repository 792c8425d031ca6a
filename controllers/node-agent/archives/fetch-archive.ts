// Brings an archive of another node to this one, to be built from or imported here.
import { randomUUID } from 'node:crypto';
import { createWriteStream, existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { archiveName } from '../../../crds/archive.ts';
import { isAbort, messageOf, WindlassError } from '../../../lib/errors.ts';
import type { Problem } from '../builds/build-image.ts';
import type { Peers } from '../peers/create-peers.ts';
import type { NodeRuntime } from '../runtime/node-runtime.ts';
import { archivePath, findArchive, type ArchiveDeps } from './archives.ts';

export interface FetchArchiveDeps extends ArchiveDeps {
  readonly runtime: Pick<NodeRuntime, 'keepBlobs' | 'importBlob'>;
  readonly peers: Pick<Peers, 'openBlob'>;
  /** Folder of unfinished transfers, on the file system of the content store. */
  readonly uploads: string;
  /** Folder of the content store. */
  readonly content: string;
}

/** Sees to it that the archive is here; says why when that cannot be. */
export async function fetchArchive(
  deps: FetchArchiveDeps,
  namespace: string,
  digest: string,
  signal: AbortSignal,
): Promise<Problem | undefined> {
  const problem = await findArchive(deps, namespace, digest);
  if (problem?.reason !== 'ArchiveNotOnNode') return problem;
  if (existsSync(archivePath(deps.content, digest))) return undefined;
  const archive = deps.archives.get(namespace, archiveName(digest));
  const others = (archive?.nodes ?? []).filter((name) => name !== deps.nodeName);
  if (!archive || others.length === 0) return problem;
  try {
    await receive(deps, { digest, sizeBytes: archive.sizeBytes }, others, signal);
    return undefined;
  } catch (error) {
    if (isAbort(error) && signal.aborted) throw error;
    return { reason: 'ArchiveNotOnNode', message: `${problem.message}: ${messageOf(error)}` };
  }
}

async function receive(
  { runtime, peers, uploads }: FetchArchiveDeps,
  { digest, sizeBytes }: { readonly digest: string; readonly sizeBytes: number },
  from: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const path = join(uploads, randomUUID());
  try {
    const body = await peers.openBlob(digest, from, signal);
    if (!body) throw new WindlassError('Unavailable', 'no node that has it answers');
    const file = createWriteStream(path, { flags: 'wx', mode: 0o600 });
    await pipeline(body, (chunks: AsyncIterable<Buffer>) => upTo(sizeBytes, chunks), file, { signal });
    // Verifies the digest.
    await runtime.importBlob(path, digest);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

/** A node that sends more than the archive has must not fill the disk of this one before its bytes are verified. */
async function* upTo(sizeBytes: number, chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let left = sizeBytes;
  for await (const chunk of chunks) {
    left -= chunk.length;
    if (left < 0) throw new WindlassError('Invalid', `what another node sends is larger than ${sizeBytes} bytes`);
    yield chunk;
  }
}
