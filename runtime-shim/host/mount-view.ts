// A copy of the mount table in which one mount is not there, for a program that must not see it. Made by three system
// calls of the main thread, which is back before any other code runs; nobody else's mounts change.
import { close, closeSync, constants, openSync, readlinkSync } from 'node:fs';
import { check, libc } from './libc.ts';
import { MNT, mount, MS } from './mount.ts';

const CLONE_NEWNS = 0x20000;
const O_PATH = 0o10000000;

/** A mount namespace that lives as long as this handle, or as a program in it. */
export interface MountView extends Disposable {
  /** What `nsenter --mount=` takes. */
  readonly path: string;
}

/** True when this process can come back from another mount namespace: going there resets its root folder. */
export const canMakeMountViews = (): boolean => readlinkSync('/proc/self/root') === '/';

/**
 * Copies the mount namespace and unmounts `hidden` in the copy. `around` is the mount that holds it: there, and only
 * there, unmounting must not reach the original. Main thread only.
 */
export function openMountView(hidden: string, around: string): MountView {
  const home = openSync('/proc/thread-self/ns/mnt', 'r');
  const folder = openSync('.', O_PATH | constants.O_DIRECTORY);
  try {
    check(libc.unshare(CLONE_NEWNS), 'unshare');
    try {
      mount(null, around, null, MS.private | MS.rec);
      check(libc.umount2(hidden, MNT.detach), 'umount2', hidden);
      const fd = openSync('/proc/thread-self/ns/mnt', 'r');
      return {
        path: `/proc/${process.pid}/fd/${fd}`,
        // The kernel waits for its readers when it takes a mount table apart: not on this thread.
        [Symbol.dispose]: () => close(fd),
      };
    } finally {
      // A process that stays in the copy would make every further mount where nobody sees it: nothing may go on.
      if (libc.setns(home, CLONE_NEWNS) === -1) process.abort();
      process.chdir(`/proc/self/fd/${folder}`);
    }
  } finally {
    closeSync(folder);
    closeSync(home);
  }
}
