// Unpacked layers, once per chain id:
//   layers/<hex>/diff          what the layer adds, in overlayfs' own form (whiteouts, opaque marks)
//   layers/<hex>/record.json   written before the folder gets its name: a folder with a name is complete
//   staging/<uuid>             being unpacked or deleted; nothing here survives a restart
// A layer is unpacked beside its parents (all at once) and gets its name after them.
import { randomUUID } from 'node:crypto';
import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { asStoreError } from '../../oci/ingest.ts';
import { isDigest, splitDigest, type Digest } from '../../oci/digest.ts';
import { nativePath } from '../../oci/layers/file-system-calls.ts';
import type { ApplyResult } from '../../oci/layers/apply.ts';
import type { Compression } from '../../oci/media-types.ts';
import { createSharedWork } from '../../oci/shared-work.ts';
import { spreadDirectoriesOf } from '../host/top-directory.ts';
import { isSmallTree, removeTree } from './remove-tree.ts';
import type { UnpackPool } from './unpack-pool.ts';

export interface LayerSource {
  readonly chainId: Digest;
  readonly diffId: Digest;
  /** Digest of the blob, for messages. */
  readonly digest: Digest;
  /** Of the blob. */
  readonly sizeBytes: number;
  readonly compression: Compression;
  /** Makes the blob present and gives its path. */
  fetch(signal: AbortSignal): Promise<string>;
}

export interface LayerRecord {
  readonly chainId: Digest;
  readonly usedBytes: number;
  readonly inodes: number;
  readonly isRootOpaque: boolean;
}

export interface LayerStore {
  has(chainId: Digest): boolean;
  /** Tells that `count` layers will be unpacked soon. */
  prepare(count: number): void;
  /** Fetches and unpacks what is missing of a stack of layers (lowest first); shared with other callers. */
  ensure(layers: readonly LayerSource[], signal: AbortSignal): Promise<void>;
  /**
   * Makes a finished folder of the same file system (an upper directory, in overlayfs' own form) the layer `chainId`;
   * when that is there already, the folder is thrown away. The path is free afterwards.
   */
  adopt(chainId: Digest, path: string, about: Omit<LayerRecord, 'chainId'>): Promise<void>;
  /** Folders for an overlay mount, top first; layers below one that hides everything are left out. */
  lowerDirs(chain: readonly Digest[]): string[];
  list(): Digest[];
  usage(): { usedBytes: number; inodes: number };
  /** Deletes layers that `isLive` does not want; asked again just before each deletion. */
  sweep(isLive: (chainId: Digest) => boolean): Promise<number>;
  /** Renames `path` out of the way at once and deletes it. */
  discard(path: string): Promise<void>;
  /** Renames `path` out of the way at once; it is deleted later, by recover() at the latest. */
  discardSoon(path: string): void;
  /** Deletes what a crash left in staging. */
  recover(): Promise<void>;
}

/** Opens the layers below `root`. */
export function openLayerStore(root: string, pool: UnpackPool): LayerStore {
  const layersDir = join(root, 'layers');
  const stagingDir = join(root, 'staging');
  for (const folder of [layersDir, stagingDir]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  spreadDirectoriesOf(stagingDir);
  const records = new Map<Digest, LayerRecord>();
  const work = createSharedWork<void>();

  const layerDir = (chainId: Digest): string => {
    const { algorithm, hex } = splitDigest(chainId);
    return join(layersDir, algorithm === 'sha256' ? hex : `${algorithm}-${hex}`);
  };
  const diffDir = (chainId: Digest): string => join(layerDir(chainId), 'diff');

  function recordOf(chainId: Digest): LayerRecord | undefined {
    const known = records.get(chainId);
    // Looked at each time: a folder deleted by hand is unpacked again instead of failing every mount.
    if (known && existsSync(diffDir(chainId))) return known;
    records.delete(chainId);
    try {
      const record = JSON.parse(readFileSync(join(layerDir(chainId), 'record.json'), 'utf8')) as LayerRecord | null;
      if (record?.chainId !== chainId) return undefined;
      records.set(chainId, record);
      return record;
    } catch (error) {
      // An unreadable record (power loss) means the layer cannot be trusted either: it is unpacked again.
      if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  async function ensureAt(layers: readonly LayerSource[], index: number, signal: AbortSignal): Promise<void> {
    const layer = layers[index];
    if (layer === undefined) return;
    if (recordOf(layer.chainId) !== undefined) {
      await ensureAt(layers, index - 1, signal);
      return;
    }
    await work.join(layer.chainId, signal, (inner) => unpackAt(layers, index, layer, inner));
  }

  async function unpackAt(
    layers: readonly LayerSource[],
    index: number,
    layer: LayerSource,
    signal: AbortSignal,
  ): Promise<void> {
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const staging = join(stagingDir, randomUUID());
    const stopOnFailure = async <T>(promise: Promise<T>): Promise<T> => {
      try {
        return await promise;
      } catch (error) {
        stop.abort(error);
        throw error;
      }
    };
    try {
      const unpacking = stopOnFailure(unpackInto(staging, layer, either));
      const parents = stopOnFailure(ensureAt(layers, index - 1, either));
      const [unpacked] = await Promise.allSettled([unpacking, parents]);
      if (stop.signal.aborted) throw stop.signal.reason;
      if (unpacked.status === 'rejected') throw unpacked.reason;
      signal.throwIfAborted();
      const below = layers.slice(0, index).map(({ chainId }) => chainId);
      adoptImplicit(join(staging, 'diff'), unpacked.value.implicitDirectories, lowerDirs(below));
      const record: LayerRecord = {
        chainId: layer.chainId,
        usedBytes: unpacked.value.usedBytes,
        inodes: unpacked.value.inodes,
        isRootOpaque: unpacked.value.isRootOpaque,
      };
      await giveName(staging, record);
    } catch (error) {
      await rm(staging, { recursive: true, force: true });
      throw asStoreError(`failed to unpack layer ${layer.digest} below ${root}`, error);
    }
  }

  async function giveName(staging: string, record: LayerRecord): Promise<void> {
    await writeFile(join(staging, 'record.json'), JSON.stringify(record), { mode: 0o600 });
    const target = layerDir(record.chainId);
    // Left by a crash with a damaged record, which recordOf() does not accept.
    if (lstatSync(target, { throwIfNoEntry: false })) await discard(target);
    await rename(staging, target);
    records.set(record.chainId, record);
  }

  async function adopt(chainId: Digest, path: string, about: Omit<LayerRecord, 'chainId'>): Promise<void> {
    if (recordOf(chainId) !== undefined) return discard(path);
    // Somebody may be unpacking the same: the first to be done is kept, and both are whole.
    await work.join(chainId, new AbortController().signal, async () => {
      const staging = join(stagingDir, randomUUID());
      await mkdir(staging, { mode: 0o755 });
      try {
        await rename(path, join(staging, 'diff'));
        await giveName(staging, { chainId, ...about });
      } catch (error) {
        await rm(staging, { recursive: true, force: true });
        throw asStoreError(`failed to keep a layer below ${root}`, error);
      }
    });
    if (existsSync(path)) await discard(path);
  }

  async function unpackInto(staging: string, layer: LayerSource, signal: AbortSignal): Promise<ApplyResult> {
    const blobPath = await layer.fetch(signal);
    const target = join(staging, 'diff');
    await mkdir(target, { recursive: true, mode: 0o755 });
    const { digest, sizeBytes, compression, diffId } = layer;
    return await pool.unpack({ blobPath, digest, sizeBytes, compression, diffId, target }, signal);
  }

  function lowerDirs(chain: readonly Digest[]): string[] {
    const result: string[] = [];
    for (const chainId of chain.toReversed()) {
      const record = recordOf(chainId);
      if (!record) throw new WindlassError('NotFound', `layer ${chainId} is not unpacked`);
      result.push(diffDir(chainId));
      if (record.isRootOpaque) break;
    }
    return result;
  }

  function list(): Digest[] {
    // What has no name of ours (lost+found) is not ours to look at.
    return readdirSync(layersDir)
      .map((name) => (name.includes('-') ? name.replace('-', ':') : `sha256:${name}`))
      .filter(isDigest);
  }

  function moveAway(path: string): string {
    const trash = join(stagingDir, `trash-${randomUUID()}`);
    try {
      renameSync(path, trash);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
    return trash;
  }

  async function discard(path: string): Promise<void> {
    await removeTree(moveAway(path));
  }

  function discardSoon(path: string): void {
    // What cannot be deleted now lies in staging, where nobody looks but recover().
    removeTree(moveAway(path)).catch(() => undefined);
  }

  return {
    has: (chainId) => recordOf(chainId) !== undefined,
    prepare: (count) => pool.warm(count),
    ensure: (layers, signal) => ensureAt(layers, layers.length - 1, signal),
    adopt,
    lowerDirs,
    list,
    discard,
    discardSoon,
    usage() {
      const total = { usedBytes: 0, inodes: 0 };
      for (const chainId of list()) {
        const record = recordOf(chainId);
        total.usedBytes += record?.usedBytes ?? 0;
        total.inodes += record?.inodes ?? 0;
      }
      return total;
    },
    async sweep(isLive) {
      let removed = 0;
      // Highest first is not needed: nothing live lies above something dead.
      for (const chainId of list()) {
        if (isLive(chainId)) continue;
        records.delete(chainId);
        removed += 1;
        await discard(layerDir(chainId));
      }
      return removed;
    },
    async recover() {
      for (const path of readdirSync(stagingDir).map((name) => join(stagingDir, name))) {
        // The start does not wait for what takes long.
        if (await isSmallTree(path)) await rm(path, { recursive: true, force: true });
        else removeTree(path).catch(() => undefined);
      }
    },
  };
}

/**
 * Gives directories that an archive only implied the owner and mode they have in the layers below (`lowers`, top
 * first), so that the layer does not change what it never mentioned.
 */
function adoptImplicit(diff: string, implicit: readonly string[], lowers: readonly string[]): void {
  for (const path of implicit) {
    for (const lower of lowers) {
      const below = lstatSync(nativePath(Buffer.from(join(lower)).toString('latin1') + '/' + path), {
        throwIfNoEntry: false,
      });
      if (!below) continue;
      if (!below.isDirectory()) break;
      const own = nativePath(`${Buffer.from(diff).toString('latin1')}/${path}`);
      if (!lstatSync(own, { throwIfNoEntry: false })?.isDirectory()) break;
      chownSync(own, below.uid, below.gid);
      chmodSync(own, below.mode & 0o7777);
      break;
    }
  }
}
