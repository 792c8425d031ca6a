// Files and folders of a tree that is not trusted, and mounts of exactly these: between being found and being mounted
// nobody can put something else in their place, since what is mounted is what was opened.
import { closeSync, constants, openSync } from 'node:fs';
import { check, kernel, lastErrno, SystemError } from './libc.ts';

const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;
const RESOLVE = { noMagicLinks: 0x02, inRoot: 0x10 } as const;
const OPEN_TREE_CLONE = 1;
const AT_EMPTY_PATH = 0x1000;
const ATTR = { readOnly: 1n, noDevices: 4n } as const;
/** The kernel could not rule out that somebody moved a folder meanwhile, and says so (openat2(2)). */
const MAX_TRIES = 64;

/**
 * A handle (O_PATH) of what `path` leads to if `root` is the root of everything: links and `..` stay inside, whoever
 * changes the tree meanwhile. ENOENT, ENOTDIR or ELOOP when there is nothing. The caller closes it.
 */
export function openInRoot(root: string, path: string): number {
  const rootFd = openSync(root, O_PATH | constants.O_DIRECTORY);
  try {
    // struct open_how: flags, mode, resolve.
    const how = Buffer.alloc(24);
    how.writeBigUInt64LE(BigInt(O_PATH | O_CLOEXEC), 0);
    how.writeBigUInt64LE(BigInt(RESOLVE.inRoot | RESOLVE.noMagicLinks), 16);
    for (let tries = 1; ; tries += 1) {
      const fd = kernel.openat2(rootFd, path === '' ? '.' : path, how);
      if (fd !== -1) return fd;
      const error = new SystemError(lastErrno(), 'openat2', path);
      if (error.code !== 'EAGAIN' || tries === MAX_TRIES) throw error;
    }
  } finally {
    closeSync(rootFd);
  }
}

/** Mounts what `fd` is on `target`, of the same kind, read-only and without devices; nothing that is mounted below it. */
export function mountOpened(fd: number, target: string): void {
  const tree = check(kernel.openTree(fd, '', OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH), 'open_tree', target);
  try {
    // struct mount_attr: attr_set, attr_clr, propagation, userns_fd.
    const attributes = Buffer.alloc(32);
    attributes.writeBigUInt64LE(ATTR.readOnly | ATTR.noDevices, 0);
    check(kernel.mountSetattrOf(tree, AT_EMPTY_PATH, attributes), 'mount_setattr', target);
    check(kernel.moveMount(tree, target), 'move_mount', target);
  } finally {
    closeSync(tree);
  }
}
