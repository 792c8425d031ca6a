// The file systems that a build works in and looks into, below `<snapshots>/builds`:
//   <uuid>/upper, work    what a step writes; upper becomes its layer
//   <uuid>/merged         where the stage's files are mounted
// On the file system of the layers, so that an upper directory becomes a layer by its name alone.
import { randomUUID } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../oci/digest.ts';
import { asStoreError } from '../oci/ingest.ts';
import type { LayerStore } from '../runtime-shim/snapshots/layer-store.ts';
import { makeMountPoints } from '../runtime-shim/snapshots/mount-points.ts';
import type { OverlayMounts } from '../runtime-shim/snapshots/overlay-mounts.ts';

export interface Workspace extends AsyncDisposable {
  /** Where the files are; mounted. */
  readonly root: string;
}

export interface WritableWorkspace extends Workspace {
  /** What was written, in overlayfs' own form; looked at after unmount() only. */
  readonly upper: string;
  /** What lies below it, top first. */
  readonly lowerDirs: readonly string[];
  /** What the root directory was like before. */
  readonly base: { readonly mode: number; readonly uid: number; readonly gid: number };
  unmount(): Promise<void>;
}

export interface Workspaces {
  /**
   * A stack of unpacked layers (lowest first) to write on. `hasMountPoints`: what a running command has something
   * mounted on is there, without being written.
   */
  openWritable(chain: readonly Digest[], options?: { readonly hasMountPoints?: boolean }): WritableWorkspace;
  /** An empty folder. */
  openFolder(): Workspace;
  /** A stack of unpacked layers to read. */
  openReadOnly(chain: readonly Digest[]): Workspace;
  /** Unmounts and deletes what a killed process left. Nothing may run in there any more. */
  recover(): Promise<void>;
}

/** Workspaces below `root` over `layers`. */
export function openWorkspaces(root: string, layers: LayerStore, mounts: OverlayMounts): Workspaces {
  const folder = join(root, 'builds');
  const emptyDir = join(root, 'builds-empty');
  const mountPoints = join(root, 'builds-mount-points');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  mkdirSync(emptyDir, { recursive: true, mode: 0o755 });
  makeMountPoints(mountPoints);

  const make = (): { own: string; merged: string } => {
    const own = join(folder, randomUUID());
    const merged = join(own, 'merged');
    mkdirSync(merged, { recursive: true, mode: 0o755 });
    return { own, merged };
  };
  const remove = async (own: string): Promise<void> => {
    await mounts.unmountMeanwhile(join(own, 'merged'));
    await layers.discard(own);
  };

  return {
    openWritable(chain, { hasMountPoints = false } = {}) {
      const { own, merged } = make();
      const [upper, work] = [join(own, 'upper'), join(own, 'work')];
      let base: WritableWorkspace['base'];
      let lowerDirs: readonly string[];
      try {
        const below = layers.lowerDirs(chain);
        lowerDirs = [...below, hasMountPoints ? mountPoints : emptyDir];
        for (const path of [upper, work]) mkdirSync(path, { mode: 0o755 });
        // The root of an overlay has the owner and the mode of its upper directory.
        const { uid, gid, mode } = statSync(below[0] ?? emptyDir);
        base = { uid, gid, mode: mode & 0o7777 };
        chownSync(upper, uid, gid);
        chmodSync(upper, base.mode);
        // What is lost with the power is built again: the unmount need not wait for the disk.
        const options = ['volatile'];
        mounts.mountOverlay({ lowerDirs, upperDir: upper, workDir: work, target: merged, options });
      } catch (error) {
        layers.discardSoon(own);
        throw asStoreError(`failed to mount a step of a build below ${folder}`, error);
      }
      return {
        root: merged,
        upper,
        lowerDirs,
        base,
        unmount: () => mounts.unmountMeanwhile(merged),
        [Symbol.asyncDispose]: () => remove(own),
      };
    },
    openFolder() {
      const own = join(folder, randomUUID());
      mkdirSync(own, { mode: 0o700 });
      return { root: own, [Symbol.asyncDispose]: () => layers.discard(own) };
    },
    openReadOnly(chain) {
      const { own, merged } = make();
      try {
        // Without an upper directory the kernel wants at least two lower ones.
        const lowerDirs = [...layers.lowerDirs(chain), emptyDir];
        if (lowerDirs.length === 1) lowerDirs.unshift(merged);
        mounts.mountOverlay({ lowerDirs, target: merged });
      } catch (error) {
        layers.discardSoon(own);
        throw asStoreError(`failed to mount the files of a stage below ${folder}`, error);
      }
      return { root: merged, [Symbol.asyncDispose]: () => remove(own) };
    },
    async recover() {
      for (const target of mounts.mountsBelow(folder).toReversed()) mounts.unmount(target);
      for (const name of readdirSync(folder)) await layers.discard(join(folder, name));
    },
  };
}
