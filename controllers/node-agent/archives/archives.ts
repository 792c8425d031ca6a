// Archives of which this node has the bytes: the runtime is told which to keep, and whoever builds from one finds it.
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { archiveName, type Archive } from '../../../crds/archive.ts';
import { errnoOf } from '../../../lib/errors.ts';
import type { Lister } from '../cluster.ts';
import type { Problem } from '../builds/build-image.ts';
import type { NodeRuntime } from '../runtime/node-runtime.ts';
import type { SharedBlob } from '../server/blobs.ts';

export interface ArchiveDeps {
  readonly archives: Lister<Archive>;
  readonly runtime: Pick<NodeRuntime, 'keepBlobs'>;
  readonly nodeName: string;
}

/** Tells the runtime which archives this node is to have. */
export async function keepArchives({ archives, runtime, nodeName }: ArchiveDeps): Promise<readonly string[]> {
  const own = archives.list().filter(({ nodes }) => nodes.includes(nodeName));
  return runtime.keepBlobs([...new Set(own.map(({ digest }) => digest))].toSorted());
}

/** The bytes of an archive that this node keeps, for other nodes. */
export async function findArchiveBlob(
  { archives, nodeName }: Pick<ArchiveDeps, 'archives' | 'nodeName'>,
  content: string,
  digest: string,
): Promise<SharedBlob | undefined> {
  if (!archives.list().some((archive) => archive.digest === digest && archive.nodes.includes(nodeName)))
    return undefined;
  const path = archivePath(content, digest);
  try {
    return { path, sizeBytes: (await stat(path)).size, mediaType: 'application/octet-stream' };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Why an Image of `namespace` cannot be made from that archive on this node; undefined when it can. */
export async function findArchive(deps: ArchiveDeps, namespace: string, digest: string): Promise<Problem | undefined> {
  const archive = deps.archives.get(namespace, archiveName(digest));
  if (!archive) {
    const message = `namespace "${namespace}" has no archive ${digest}: upload it first`;
    return { reason: 'ArchiveNotFound', message };
  }
  const { nodes } = archive;
  if (!nodes.includes(deps.nodeName)) {
    const where = nodes.length > 0 ? `is on node ${nodes.join(', ')}, not on node ${deps.nodeName}` : 'is on no node';
    return { reason: 'ArchiveNotOnNode', message: `${digest} ${where}` };
  }
  const missing = await keepArchives(deps);
  if (!missing.includes(digest)) return undefined;
  const message = `${digest} is not on node ${deps.nodeName} any more: upload it again`;
  return { reason: 'ArchiveNotOnNode', message };
}

/** Where the runtime has the bytes, below the folder of its content store. */
export function archivePath(content: string, digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':');
  return join(content, 'blobs', algorithm, hex);
}
