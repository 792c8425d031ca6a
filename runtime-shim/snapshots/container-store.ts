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
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { asStoreError } from '../../oci/ingest.ts';
import type { Digest } from '../../oci/digest.ts';
import { diskUsage } from './disk-usage.ts';
import type { LayerStore } from './layer-store.ts';
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

export interface ContainerStore {
  /** Makes (or finds) the container's file system on the stack `chain` (lowest first) and mounts it. */
  prepare(containerId: string, imageId: string, chain: readonly Digest[], owner?: RootOwner): string;
  /** Mounted path, mounted again when the mount was lost; undefined for an unknown container. */
  path(containerId: string): string | undefined;
  unmount(containerId: string): void;
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
  const emptyDir = join(root, 'empty');
  mkdirSync(emptyDir, { recursive: true, mode: 0o755 });
  const records = new Map<string, ContainerRecord>();
  // What has no name of ours (lost+found) is not ours to look at.
  const listNames = (): string[] => readdirSync(containersDir).filter((name) => CONTAINER_ID.test(name));

  const folder = (containerId: string): string => {
    if (!CONTAINER_ID.test(containerId)) {
      throw new WindlassError('Invalid', `invalid container id ${JSON.stringify(containerId)}`);
    }
    return join(containersDir, containerId);
  };

  const usages = createUsageCache((containerId) => diskUsage(join(folder(containerId), 'upper')));

  function recordOf(containerId: string): ContainerRecord | undefined {
    const known = records.get(containerId);
    if (known) return known;
    try {
      const record = JSON.parse(
        readFileSync(join(folder(containerId), 'record.json'), 'utf8'),
      ) as ContainerRecord | null;
      // Damaged = without one.
      if (!Array.isArray(record?.chain)) return undefined;
      records.set(containerId, record);
      return record;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  function mount(containerId: string, record: ContainerRecord): string {
    const own = folder(containerId);
    const merged = join(own, 'merged');
    if (isMountPoint(merged)) return merged;
    const lowerDirs = layers.lowerDirs(record.chain);
    if (lowerDirs.length === 0) lowerDirs.push(emptyDir);
    for (const name of ['work', 'merged']) mkdirSync(join(own, name), { recursive: true, mode: 0o755 });
    makeUpper(lowerDirs[0] as string, join(own, 'upper'), record.owner);
    mounts.mountOverlay({
      ...{ lowerDirs, upperDir: join(own, 'upper'), workDir: join(own, 'work'), target: merged },
      userNamespace: record.owner?.userNamespace,
    });
    return merged;
  }

  function save(containerId: string, record: ContainerRecord): void {
    const own = folder(containerId);
    mkdirSync(own, { recursive: true, mode: 0o700 });
    writeFileSync(join(own, 'record.json.tmp'), JSON.stringify(record), { mode: 0o600 });
    renameSync(join(own, 'record.json.tmp'), join(own, 'record.json'));
    records.set(containerId, record);
  }

  async function remove(containerId: string): Promise<void> {
    const own = folder(containerId);
    usages.forget(containerId);
    await mounts.unmountMeanwhile(join(own, 'merged'));
    records.delete(containerId);
    layers.discardSoon(own);
  }

  return {
    prepare(containerId, imageId, chain, owner) {
      const existing = recordOf(containerId);
      if (existing && (existing.owner?.uid !== owner?.uid || existing.owner?.gid !== owner?.gid)) {
        throw new WindlassError('Conflict', `the files of ${containerId} belong to ids of another user namespace`);
      }
      try {
        if (existing && existing.owner?.userNamespace === owner?.userNamespace) return mount(containerId, existing);
        // The user namespace that its layers were mapped by is gone.
        if (existing) mounts.unmount(join(folder(containerId), 'merged'));
        const record: ContainerRecord = { imageId, chain: existing?.chain ?? chain, owner };
        save(containerId, record);
        return mount(containerId, record);
      } catch (error) {
        throw asStoreError(`failed to make the root file system of container ${containerId} below ${root}`, error);
      }
    },
    path(containerId) {
      const record = recordOf(containerId);
      return record === undefined ? undefined : mount(containerId, record);
    },
    unmount: (containerId) => mounts.unmount(join(folder(containerId), 'merged')),
    remove,
    list: () => listNames().filter((name) => recordOf(name) !== undefined),
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

/** The overlay's root directory takes owner and mode from the upper layer; once made they are the container's own. */
function makeUpper(lower: string, upper: string, owner: RootOwner | undefined): void {
  if (existsSync(upper)) return;
  const { uid, gid, mode } = statSync(lower);
  mkdirSync(`${upper}.tmp`, { recursive: true });
  chownSync(`${upper}.tmp`, uid + (owner?.uid ?? 0), gid + (owner?.gid ?? 0));
  chmodSync(`${upper}.tmp`, mode & 0o7777);
  renameSync(`${upper}.tmp`, upper);
}
