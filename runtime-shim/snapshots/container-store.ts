// The writable layers of containers:
//   containers/<id>/record.json     which layers lie below; written before anything is mounted
//   containers/<id>/{upper,work}    the writable layer
//   containers/<id>/merged          where the overlay is mounted
// Only root may enter: a container's setuid programs must not be within reach of other users of the machine.
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { asStoreError } from '../../oci/ingest.ts';
import type { Digest } from '../../oci/digest.ts';
import { diskUsage } from './disk-usage.ts';
import { openLayerQuota, type LayerLimits } from './layer-quota.ts';
import type { LayerStore } from './layer-store.ts';
import { makeMountPoints } from './mount-points.ts';
import { isMountPoint, type OverlayMounts } from './overlay-mounts.ts';
import { createUsageCache } from './usage-cache.ts';

const CONTAINER_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

interface ContainerRecord {
  readonly imageId: string;
  readonly chain: readonly Digest[];
  readonly owner?: RootOwner | undefined;
}

/** Whose root the root of a file system is; absent = the host's. */
export interface RootOwner {
  /** Pinned user namespace. */
  readonly userNamespace: string;
  /** What id 0 of it is on the host. */
  readonly uid: number;
  readonly gid: number;
}

export interface PrepareOptions {
  readonly owner?: RootOwner | undefined;
  readonly limits?: LayerLimits | undefined;
}

export interface WritableLayer {
  readonly upperDir: string;
  /** Where the overlay is mounted, if it is. */
  readonly mergedDir: string;
  /** Whether the kernel keeps its limits (see layer-quota.ts). */
  readonly isHeldByKernel: boolean;
}

export interface ContainerStore {
  /** Makes (or finds) the container's file system on the stack `chain` (lowest first) and mounts it. */
  prepare(containerId: string, imageId: string, chain: readonly Digest[], options?: PrepareOptions): string;
  /** Mounted path, mounted again when the mount was lost; undefined for an unknown container. */
  path(containerId: string): string | undefined;
  /** Resolves when no unmount or removal of it is under way: to be awaited before prepare(). */
  settled(containerId: string): Promise<void>;
  /** Where its writable layer is, whether or not it is mounted; undefined for an unknown container. */
  writableLayer(containerId: string): WritableLayer | undefined;
  /** Changes the limits of a layer; nothing where the kernel does not keep them. */
  limit(containerId: string, limits: LayerLimits): void;
  unmount(containerId: string): Promise<void>;
  remove(containerId: string): Promise<void>;
  list(): string[];
  /** The image a container was made from. */
  imageOf(containerId: string): string | undefined;
  /** Layers that some container stands on. */
  usedLayers(): ReadonlySet<Digest>;
  usage(containerId: string): Promise<{ usedBytes: number; inodes: number }>;
  recover(): Promise<void>;
}

/** Opens the writable layers below `root`. */
export function openContainerStore(root: string, layers: LayerStore, mounts: OverlayMounts): ContainerStore {
  const containersDir = join(root, 'containers');
  mkdirSync(containersDir, { recursive: true, mode: 0o700 });
  const mountPoints = join(root, 'mount-points');
  makeMountPoints(mountPoints);
  const records = new Map<string, ContainerRecord>();
  // What has no name of ours (lost+found) is not ours to look at.
  const listNames = (): string[] => readdirSync(containersDir).filter((name) => CONTAINER_ID.test(name));

  const folder = (containerId: string): string => {
    if (!CONTAINER_ID.test(containerId)) {
      throw new WindlassError('Invalid', `invalid container id ${JSON.stringify(containerId)}`);
    }
    return join(containersDir, containerId);
  };

  const quota = openLayerQuota(containersDir);
  const upperOf = (containerId: string): string => join(folder(containerId), 'upper');
  const usages = createUsageCache(
    async (containerId) => quota?.usage(upperOf(containerId)) ?? diskUsage(upperOf(containerId)),
  );

  function recordOf(containerId: string): ContainerRecord | undefined {
    const known = records.get(containerId);
    if (known) return known;
    const file = join(folder(containerId), 'record.json');
    // The usual case for one that is being made, and cheaper to see than to catch.
    if (statSync(file, { throwIfNoEntry: false }) === undefined) return undefined;
    try {
      const record = JSON.parse(readFileSync(file, 'utf8')) as ContainerRecord | null;
      // Damaged = without one.
      if (!Array.isArray(record?.chain)) return undefined;
      records.set(containerId, record);
      return record;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  function mount(containerId: string, record: ContainerRecord, limits: LayerLimits = {}): string {
    const own = folder(containerId);
    const merged = join(own, 'merged');
    if (isMountPoint(merged)) return merged;
    const lowerDirs = [...layers.lowerDirs(record.chain), mountPoints];
    mkdirSync(merged, { recursive: true, mode: 0o755 });
    makeWritable(own, lowerDirs[0] as string, record.owner, limits);
    mounts.mountOverlay({
      ...{ lowerDirs, upperDir: join(own, 'upper'), workDir: join(own, 'work'), target: merged },
      userNamespace: record.owner?.userNamespace,
    });
    return merged;
  }

  /**
   * The overlay's root directory takes owner and mode from the upper layer; once made they are the container's own. Both
   * folders belong to one project from their first file on: nothing is moved from one project into another.
   */
  function makeWritable(own: string, lower: string, owner: RootOwner | undefined, limits: LayerLimits): void {
    const [upper, work, fresh] = ['upper', 'work', 'upper.tmp'].map((name) => join(own, name)) as [
      string,
      string,
      string,
    ];
    if (existsSync(upper)) return void mkdirSync(work, { recursive: true, mode: 0o755 });
    // What a crash left of these may belong to a project that was never used.
    for (const path of [fresh, work]) rmSync(path, { recursive: true, force: true });
    const { uid, gid, mode } = statSync(lower);
    for (const path of [work, fresh]) mkdirSync(path, { mode: 0o755 });
    if (quota) {
      const project = quota.open(limits);
      for (const path of [work, fresh]) quota.mark(path, project);
    }
    chownSync(fresh, uid + (owner?.uid ?? 0), gid + (owner?.gid ?? 0));
    chmodSync(fresh, mode & 0o7777);
    renameSync(fresh, upper);
  }

  function save(containerId: string, record: ContainerRecord): void {
    const own = folder(containerId);
    mkdirSync(own, { recursive: true, mode: 0o700 });
    writeFileSync(join(own, 'record.json.tmp'), JSON.stringify(record), { mode: 0o600 });
    renameSync(join(own, 'record.json.tmp'), join(own, 'record.json'));
    records.set(containerId, record);
  }

  /** Unmounts under way; nobody mounts meanwhile, see settled(). */
  const leaving = new Map<string, { readonly end: Promise<void>; readonly isRemoval: boolean }>();
  const isRemoved = (containerId: string): boolean => leaving.get(containerId)?.isRemoval === true;

  async function leave(containerId: string, isRemoval: boolean, work: () => Promise<void>): Promise<void> {
    for (let other = leaving.get(containerId); other; other = leaving.get(containerId)) {
      await other.end.catch(() => undefined);
    }
    const end = work();
    leaving.set(containerId, { end, isRemoval });
    try {
      await end;
    } finally {
      leaving.delete(containerId);
    }
  }

  const unmount = (containerId: string): Promise<void> =>
    leave(containerId, false, () => mounts.unmountMeanwhile(join(folder(containerId), 'merged')));

  const remove = (containerId: string): Promise<void> =>
    leave(containerId, true, async () => {
      const own = folder(containerId);
      usages.forget(containerId);
      await mounts.unmountMeanwhile(join(own, 'merged'));
      records.delete(containerId);
      quota?.close(join(own, 'upper'));
      layers.discardSoon(own);
    });

  return {
    prepare(containerId, imageId, chain, { owner, limits = {} } = {}) {
      const existing = recordOf(containerId);
      if (existing && (existing.owner?.uid !== owner?.uid || existing.owner?.gid !== owner?.gid)) {
        throw new WindlassError('Conflict', `the files of ${containerId} belong to ids of another user namespace`);
      }
      try {
        quota?.limit(upperOf(containerId), limits);
        if (existing && existing.owner?.userNamespace === owner?.userNamespace) {
          return mount(containerId, existing, limits);
        }
        // The user namespace that its layers were mapped by is gone.
        if (existing) mounts.unmount(join(folder(containerId), 'merged'));
        const record: ContainerRecord = { imageId, chain: existing?.chain ?? chain, owner };
        save(containerId, record);
        return mount(containerId, record, limits);
      } catch (error) {
        throw asStoreError(`failed to make the root file system of container ${containerId} below ${root}`, error);
      }
    },
    path(containerId) {
      const record = recordOf(containerId);
      return record === undefined || leaving.has(containerId) ? undefined : mount(containerId, record);
    },
    settled: async (containerId) => leaving.get(containerId)?.end.catch(() => undefined),
    writableLayer(containerId) {
      if (recordOf(containerId) === undefined || isRemoved(containerId)) return undefined;
      const upperDir = upperOf(containerId);
      const isHeldByKernel = quota?.isHeld(upperDir) ?? false;
      return { upperDir, mergedDir: join(folder(containerId), 'merged'), isHeldByKernel };
    },
    limit(containerId, limits) {
      if (recordOf(containerId) !== undefined) quota?.limit(upperOf(containerId), limits);
    },
    unmount,
    remove,
    list: () => listNames().filter((name) => recordOf(name) !== undefined && !isRemoved(name)),
    imageOf: (containerId) => recordOf(containerId)?.imageId,
    usedLayers() {
      const used = new Set<Digest>();
      for (const name of listNames()) {
        for (const chainId of recordOf(name)?.chain ?? []) used.add(chainId);
      }
      return used;
    },
    usage: (containerId) => usages.usage(containerId),
    async recover() {
      for (const name of listNames()) {
        // Without a record nobody was ever told of it.
        if (recordOf(name) === undefined) await remove(name);
      }
      for (const target of mounts.mountsBelow(containersDir)) {
        const name = target.slice(containersDir.length + 1).split('/')[0] ?? '';
        if (!CONTAINER_ID.test(name) || recordOf(name) === undefined) mounts.unmount(target);
      }
    },
  };
}
