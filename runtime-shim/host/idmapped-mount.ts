// Id-mapped mounts (mount_setattr(2)): the same files, whose ids are read and written as a user namespace maps them.
import { closeSync, openSync } from 'node:fs';
import { check, kernel, AT_FDCWD } from './libc.ts';

const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const AT_RECURSIVE = 0x8000;
const AT_EMPTY_PATH = 0x1000;
const MOUNT_ATTR_IDMAP = 0x100000n;

/** A copy of the mount at `path`, attached nowhere; `recursive` with what is mounted below. The caller closes it. */
function cloneIdMapped(path: string, namespaceFd: number, recursive: boolean): number {
  const depth = recursive ? AT_RECURSIVE : 0;
  const tree = check(kernel.openTree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | depth), 'open_tree', path);
  try {
    // struct mount_attr: attr_set, attr_clr, propagation, userns_fd.
    const attributes = Buffer.alloc(32);
    attributes.writeBigUInt64LE(MOUNT_ATTR_IDMAP, 0);
    attributes.writeBigUInt64LE(BigInt(namespaceFd), 24);
    check(kernel.mountSetattrOf(tree, AT_EMPTY_PATH | depth, attributes), 'mount_setattr', path);
    return tree;
  } catch (error) {
    closeSync(tree);
    throw error;
  }
}

/** Mounts `source` (file or folder, with what is mounted below) on `target`, id-mapped by the pinned user namespace. */
export function mountIdMapped(source: string, target: string, userNamespace: string): void {
  const namespaceFd = openSync(userNamespace, 'r');
  try {
    const tree = cloneIdMapped(source, namespaceFd, true);
    try {
      check(kernel.moveMount(tree, target), 'move_mount', target);
    } finally {
      closeSync(tree);
    }
  } finally {
    closeSync(namespaceFd);
  }
}

/** Runs `fn` with paths under which `folders` are id-mapped; they end with the call. */
export function withIdMapped(folders: readonly string[], userNamespace: string, fn: (paths: string[]) => void): void {
  const fds = [openSync(userNamespace, 'r')];
  try {
    for (const folder of folders) fds.push(cloneIdMapped(folder, fds[0] as number, false));
    fn(fds.slice(1).map((fd) => `/proc/self/fd/${fd}`));
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}
