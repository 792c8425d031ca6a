// The host side of Volumes on this node: where they are, how much they hold, and the end of their bytes.
import { opendir, rm, lstat } from 'node:fs/promises';
import { join } from 'node:path';
import type { KindClient } from '../../../client/client.ts';
import type { Volume } from '../../../crds/volume.ts';
import { errnoOf, isConflict, isNotFound } from '../../../lib/errors.ts';
import { hasFinalizer, NODE_DATA_FINALIZER, splitKey } from '../../runtime/object-key.ts';
import type { ReconcileOptions, Result } from '../../runtime/reconciler.ts';
import type { Cluster } from '../cluster.ts';
import { volumeDirectory, type VolumeRoots } from './volume-paths.ts';
import { exists } from './volume-store.ts';

const MEASURE_EVERY_MS = 5 * 60_000;
const NOT_MADE_YET_MS = 2000;
const MAX_ENTRIES = 100_000;

export interface VolumeReconcilerDeps {
  readonly cluster: Cluster;
  readonly client: Pick<KindClient<Volume>, 'mergePatch'>;
  readonly roots: VolumeRoots;
  readonly nodeName: string;
  /** Names of Containers of the namespace whose sandbox on this node still mounts the Volume. */
  readonly mountedBy: (namespace: string, volumeName: string) => readonly string[];
}

/** Reconciles one Volume. */
export function createVolumeReconciler(deps: VolumeReconcilerDeps) {
  return async (key: string, { signal }: ReconcileOptions): Promise<Result> => {
    const { namespace = '', name } = splitKey(key);
    const volume = deps.cluster.volumes.get(namespace, name);
    if (!volume) return {};
    const home = volume.spec.nodeName ?? volume.status?.nodeName;
    if (home !== deps.nodeName) return {};
    const directory = volumeDirectory(deps.roots, volume);
    if (volume.metadata.deletionTimestamp !== undefined) return deleteBytes(deps, volume, directory, signal);
    // Made when its first container starts; nothing tells when that is.
    if (!(await exists(directory))) return { requeueAfterMs: NOT_MADE_YET_MS };
    const usedBytes = volume.spec.hostPath === undefined ? await measure(directory, signal) : undefined;
    const isSame = volume.status?.mountpoint === directory && volume.status.usedBytes === usedBytes;
    if (!isSame) {
      const status = { mountpoint: directory, ...(usedBytes === undefined ? {} : { usedBytes }) };
      await ignoreGone(deps.client.mergePatch(name, namespace, { status }, { subresource: 'status' }, signal));
    }
    return { requeueAfterMs: MEASURE_EVERY_MS };
  };
}

async function deleteBytes(
  deps: VolumeReconcilerDeps,
  volume: Volume,
  directory: string,
  signal: AbortSignal,
): Promise<Result> {
  const { name, namespace = '', finalizers = [], resourceVersion } = volume.metadata;
  if (!hasFinalizer(volume, NODE_DATA_FINALIZER)) return {};
  // Whoever else holds it (in use) goes first: bytes are the last thing to lose.
  if (finalizers.some((finalizer) => finalizer !== NODE_DATA_FINALIZER)) return {};
  if (deps.mountedBy(namespace, name).length > 0) return { requeueAfterMs: 1000 };
  if (volume.spec.hostPath === undefined && (volume.spec.reclaimPolicy ?? 'Delete') === 'Delete') {
    await rm(directory, { recursive: true, force: true });
  }
  const left = finalizers.filter((finalizer) => finalizer !== NODE_DATA_FINALIZER);
  await ignoreGone(
    deps.client.mergePatch(name, namespace, { metadata: { finalizers: left, resourceVersion } }, {}, signal),
  );
  return {};
}

async function ignoreGone(write: Promise<unknown>): Promise<void> {
  try {
    await write;
  } catch (error) {
    if (!isNotFound(error) && !isConflict(error)) throw error;
  }
}

/** Bytes below `root` as the file system counts them; undefined for a tree too big to count now and then. */
export async function measure(root: string, signal: AbortSignal): Promise<number | undefined> {
  let bytes = 0;
  let entries = 0;
  const folders = [root];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    signal.throwIfAborted();
    try {
      for await (const entry of await opendir(folder)) {
        entries += 1;
        if (entries > MAX_ENTRIES) return undefined;
        const path = join(folder, entry.name);
        if (entry.isDirectory()) folders.push(path);
        else bytes += (await lstat(path)).blocks * 512;
      }
    } catch (error) {
      // Containers delete while we count.
      if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') throw error;
    }
  }
  return bytes;
}
