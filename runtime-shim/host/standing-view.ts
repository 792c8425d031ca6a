// One copy of the mount table for all programs that must not see one mount. What is mounted later has to come into it by
// itself, and what is unmounted has to leave it, or a file system would stay busy as long as a container runs:
//   - everything in it receives from the original (a slave, mount_namespaces(7)), never the other way round;
//   - folders in which this process mounts are shared mounts of their own, so that they send, whatever the host's are;
//   - a mount of the host that does not send is not in it, unless it is one of the system's.
import { constants, openSync, realpathSync } from 'node:fs';
import { check, libc } from './libc.ts';
import { inCopyOfMounts, openMountNamespace } from './mount-namespace.ts';
import { MNT, mount, MS, readMounts, umount, type MountEntry } from './mount.ts';
import { isSameIn, type MountedView } from './mounted-view.ts';

const O_PATH = 0o10000000;
/** Mounts that come with the system and stay. */
const SYSTEM = ['/bin', '/dev', '/etc', '/lib', '/lib32', '/lib64', '/proc', '/sbin', '/sys', '/usr'];

/** Makes `folder` a mount that sends what is mounted in it to its copies; one that does is left alone. */
export function shareFolder(folder: string): void {
  const path = realpathSync(folder);
  const isShared = ({ target, propagation }: MountEntry): boolean =>
    target === path && propagation.some((field) => field.startsWith('shared:'));
  if (readMounts().some(isShared)) return;
  mount(path, path, null, MS.bind);
  // Out of the group that it is born into where its parent is shared: else all would be mounted twice.
  mount(null, path, null, MS.private);
  mount(null, path, null, MS.shared);
}

/** Makes the view without `hidden`, with the mounts that hold `folders`. Main thread only. */
export function openStandingView(hidden: string, folders: readonly string[]): MountedView {
  const needed = folders.map((folder) => realpathSync(folder));
  return inCopyOfMounts(() => {
    mount(null, '/', null, MS.slave | MS.rec);
    check(libc.umount2(hidden, MNT.detach), 'umount2', hidden);
    for (const entry of readMounts().toReversed()) if (!staysIn(entry, needed)) umount(entry.target, MNT.detach);
    const fd = openMountNamespace();
    const root = openSync('/', O_PATH | constants.O_DIRECTORY);
    // Below our own folders there are no links of anybody's.
    const realPathOf = (path: string): string => {
      const index = folders.findIndex((folder) => path.startsWith(`${folder}/`));
      return index < 0 ? realpathSync.native(path) : `${needed[index]}${path.slice(folders[index]?.length)}`;
    };
    return { fd, root, isSame: (path) => isSameIn(root, path, () => realPathOf(path)) };
  });
}

/** True for a mount that follows the original, one of the system's, and one above or in a needed folder. */
function staysIn({ target, propagation }: MountEntry, needed: readonly string[]): boolean {
  if (propagation.some((field) => field.startsWith('master:'))) return true;
  const holds = (path: string): boolean => target === '/' || `${path}/`.startsWith(`${target}/`);
  return [...SYSTEM, ...needed].some((path) => holds(path) || target.startsWith(`${path}/`));
}
