// Work in another mount namespace by the main thread, which is back before any other code runs.
import { closeSync, constants, openSync } from 'node:fs';
import { check, libc } from './libc.ts';

const CLONE_FS = 0x200;
const CLONE_NEWNS = 0x20000;
const O_PATH = 0o10000000;

/** Runs `fn`, which must be synchronous, in a copy of the mount namespace, which is gone when nobody holds it. */
export const inCopyOfMounts = <T>(fn: () => T): T =>
  awayFromHome(() => check(libc.unshare(CLONE_NEWNS), 'unshare'), fn);

/** Runs `fn`, which must be synchronous, in the mount namespace `fd`. */
export const inMountNamespace = <T>(fd: number, fn: () => T): T =>
  awayFromHome(() => {
    // Threads made since the last time share root and working folder with this one, and setns(2) moves nobody's but its own.
    check(libc.unshare(CLONE_FS), 'unshare');
    check(libc.setns(fd, CLONE_NEWNS), 'setns');
  }, fn);

/** A handle of the mount namespace that this thread is in; the caller closes it. */
export const openMountNamespace = (): number => openSync('/proc/thread-self/ns/mnt', 'r');

/** `leave` either fails or takes this thread to the other namespace. Back home the working folder is what it was. */
function awayFromHome<T>(leave: () => void, fn: () => T): T {
  const home = openMountNamespace();
  const folder = openSync('.', O_PATH | constants.O_DIRECTORY);
  try {
    leave();
    try {
      return fn();
    } finally {
      // A process that stays there would make every further mount where nobody sees it: nothing may go on.
      if (libc.setns(home, CLONE_NEWNS) === -1) process.abort();
      process.chdir(`/proc/self/fd/${folder}`);
    }
  } finally {
    closeSync(folder);
    closeSync(home);
  }
}
