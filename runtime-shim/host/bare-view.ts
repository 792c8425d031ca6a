// A copy of the mount table that holds no more than what a program needs to run and a few folders. A program that reads its
// mount table, or copies it, pays for every mount of every container on the host; here it finds a handful.
import { constants, openSync, realpathSync } from 'node:fs';
import { inCopyOfMounts, openMountNamespace } from './mount-namespace.ts';
import { MNT, mount, MS, readMounts, umount } from './mount.ts';
import { isSameIn, type MountedView } from './mounted-view.ts';

const O_PATH = 0o10000000;
const PROGRAMS = ['/bin', '/dev', '/etc', '/lib', '/lib32', '/lib64', '/proc', '/sbin', '/sys', '/usr'];
const CONTROL_GROUPS = '/sys/fs/cgroup';

export interface BareViewOptions {
  /** Mounts of our own that only stand for the folder they are on: taken away with all that is below. */
  readonly folders: readonly string[];
  /** Paths that have to be what they are here. */
  readonly needed: readonly string[];
  /** Runs in the view before it is left, synchronously. */
  inside(): void;
}

/** Makes the view; what is mounted or unmounted elsewhere later does not come into it. Main thread only. */
export function openBareView({ folders, needed, inside }: BareViewOptions): MountedView {
  const ours = new Set(folders.map((folder) => realpathSync(folder)));
  const paths = [...PROGRAMS, CONTROL_GROUPS, ...needed.map((path) => realpathSync(path))];
  const holds = (target: string): boolean =>
    paths.some((path) => target === '/' || `${path}/`.startsWith(`${target}/`)) ||
    target.startsWith(`${CONTROL_GROUPS}/`);
  return inCopyOfMounts(() => {
    mount(null, '/', null, MS.private | MS.rec);
    const gone: string[] = [];
    for (const { target } of readMounts()) {
      // Went with the mount that it was on.
      if (gone.some((above) => target.startsWith(`${above}/`))) continue;
      // One of our own once: below it may be one of the host's.
      if (!ours.delete(target) && holds(target)) continue;
      umount(target, MNT.detach);
      gone.push(target);
    }
    inside();
    const fd = openMountNamespace();
    const root = openSync('/', O_PATH | constants.O_DIRECTORY);
    return { fd, root, isSame: (path) => isSameIn(root, path, () => realpathSync.native(path)) };
  });
}
