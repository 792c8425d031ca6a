// A copy of the mount table in which one mount is not there, for a program that must not see it. Made by three system
// calls of the main thread, which is back before any other code runs; nobody else's mounts change.
import { close, readlinkSync } from 'node:fs';
import { check, libc } from './libc.ts';
import { inCopyOfMounts, openMountNamespace } from './mount-namespace.ts';
import { MNT, mount, MS } from './mount.ts';

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
  return inCopyOfMounts(() => {
    mount(null, around, null, MS.private | MS.rec);
    check(libc.umount2(hidden, MNT.detach), 'umount2', hidden);
    const fd = openMountNamespace();
    return {
      path: `/proc/${process.pid}/fd/${fd}`,
      // The kernel waits for its readers when it takes a mount table apart: not on this thread.
      [Symbol.dispose]: () => close(fd),
    };
  });
}
