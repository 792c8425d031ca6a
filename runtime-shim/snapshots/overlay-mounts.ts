// What snapshots need from the kernel's mount table, so that tests can stand in for it.
import { lstatSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { withIdMapped } from '../host/idmapped-mount.ts';
import { MNT, mountOverlay, readMounts, umount, umountMeanwhile, type OverlayOptions } from '../host/mount.ts';

export interface OverlayRequest extends OverlayOptions {
  /**
   * A pinned user namespace, in which what the lower folders hold belongs to the same ids as outside. The upper folder
   * is not mapped: what is written there is stored with the ids of the host.
   */
  readonly userNamespace?: string | undefined;
}

export interface OverlayMounts {
  mountOverlay(options: OverlayRequest): void;
  /** Detaches every mount at `target`; success when nothing is mounted there. */
  unmount(target: string): void;
  /** The same without holding up the event loop, whatever had been looked at through the mount. */
  unmountMeanwhile(target: string): Promise<void>;
  /** Targets of every mount below `folder`. */
  mountsBelow(folder: string): string[];
}

/** The real thing. */
export const kernelMounts: OverlayMounts = {
  mountOverlay({ userNamespace, ...options }) {
    if (userNamespace === undefined) return mountOverlay(options);
    withIdMapped(options.lowerDirs, userNamespace, (lowerDirs) => mountOverlay({ ...options, lowerDirs }));
  },
  unmount(target) {
    umount(target, MNT.detach);
    unmountRest(target);
  },
  async unmountMeanwhile(target) {
    await umountMeanwhile([target], MNT.detach);
    unmountRest(target);
  },
  mountsBelow: (folder) =>
    readMounts()
      .map(({ target }) => target)
      .filter((target) => target.startsWith(`${folder}/`)),
};

/** Mounted twice only if something went wrong before; then the folder could not be removed. */
function unmountRest(target: string): void {
  for (let tries = 0; tries < 16 && isMountPoint(target); tries += 1) umount(target, MNT.detach);
}

/** True when something is mounted at `path`: its device differs from its parent's. */
export function isMountPoint(path: string): boolean {
  const own = lstatSync(path, { throwIfNoEntry: false });
  return own !== undefined && own.dev !== statSync(dirname(path)).dev;
}
