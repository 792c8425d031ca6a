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
  const nodes = deps.archives.get(namespace, archiveName(digest))?.nodes ?? [];
  const others = nodes.filter((name) => name !== deps.nodeName);
  if (others.length === 0) return problem;
  try {
    await receive(deps, digest, others, signal);
    return undefined;
  } catch (error) {
    if (isAbort(error) && signal.aborted) throw error;
    return { reason: 'ArchiveNotOnNode', message: `${problem.message}: ${messageOf(error)}` };
  }
}

async function receive(
  { runtime, peers, uploads }: FetchArchiveDeps,
  digest: string,
  from: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const path = join(uploads, randomUUID());
  try {
    const body = await peers.openBlob(digest, from, signal);
    if (!body) throw new WindlassError('Unavailable', 'no node that has it answers');
    await pipeline(body, createWriteStream(path, { flags: 'wx', mode: 0o600 }), { signal });
    // Verifies the digest.
    await runtime.importBlob(path, digest);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}
