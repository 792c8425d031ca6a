// Namespaces of sandboxes. The main thread enters them and comes back within one synchronous call: no JavaScript but
// ours, and no other work of this process, ever runs inside. Must be called on the main thread.
import { closeSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { check, libc } from './libc.ts';
import { bindMount, MNT, umount } from './mount.ts';

const CLONE = { net: 0x40000000, ipc: 0x08000000, uts: 0x04000000 } as const;
type NamespaceKind = keyof typeof CLONE;
const KINDS = ['net', 'ipc', 'uts'] as const satisfies readonly NamespaceKind[];

export interface SandboxNamespaces {
  /** Path to pin each new namespace at; an absent kind is shared with the host. */
  readonly net?: string;
  readonly ipc?: string;
  readonly uts?: string;
  /** Set inside the new uts namespace. */
  readonly hostname: string;
}

/**
 * Makes new namespaces and pins them by bind mounts, so that they live without a process. All or nothing.
 * `inside` runs in them before they are left (sysctls), synchronously.
 */
export function createSandboxNamespaces(wanted: SandboxNamespaces, inside?: () => void): void {
  const kinds = KINDS.filter((kind) => wanted[kind] !== undefined);
  if (kinds.length === 0) return;
  const pinned: string[] = [];
  inOwnNamespaces(kinds, () => {
    check(libc.unshare(kinds.reduce((flags, kind) => flags | CLONE[kind], 0)), 'unshare');
    try {
      if (wanted.uts !== undefined) {
        const name = Buffer.from(wanted.hostname);
        check(libc.sethostname(name, name.length), 'sethostname', wanted.hostname);
      }
      inside?.();
      const paths = kinds.map((kind) => wanted[kind] ?? '');
      for (const folder of new Set(paths.map((path) => dirname(path)))) mkdirSync(folder, { recursive: true });
      for (const [index, kind] of kinds.entries()) {
        const path = paths[index] ?? '';
        bindNamespace(`/proc/thread-self/ns/${kind}`, path);
        pinned.push(path);
      }
    } catch (error) {
      for (const path of pinned) unpinNamespace(path);
      throw error;
    }
  });
}

/** Names the uts namespace at `path`; `inside` runs in it before it is left, synchronously. */
export function setHostname(path: string, hostname: string, inside?: () => void): void {
  const fd = openSync(path, 'r');
  try {
    inOwnNamespaces(['uts'], () => {
      check(libc.setns(fd, CLONE.uts), 'setns', path);
      const name = Buffer.from(hostname);
      check(libc.sethostname(name, name.length), 'sethostname', hostname);
      inside?.();
    });
  } finally {
    closeSync(fd);
  }
}

/** Pins the namespace that `source` (a file of /proc/<pid>/ns) is, at `path`. */
export function pinNamespace(source: string, path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  bindNamespace(source, path);
}

function bindNamespace(source: string, path: string): void {
  closeSync(openSync(path, 'a', 0o444));
  bindMount(source, path);
}

/** Lets a pinned namespace go; it dies with its last process. Fine when the pin is gone. */
export function unpinNamespace(path: string): void {
  umount(path, MNT.detach);
  rmSync(path, { force: true });
}

/** Runs `fn`, which must be synchronous, inside the net namespace at `path`. Sockets opened there stay in it. */
export function withNetns<T>(path: string, fn: () => T): T {
  const fd = openSync(path, 'r');
  try {
    return inOwnNamespaces(['net'], () => {
      check(libc.setns(fd, CLONE.net), 'setns', path);
      return fn();
    });
  } finally {
    closeSync(fd);
  }
}

/** Runs `fn`, then returns to the namespaces that were current, whatever happened. */
function inOwnNamespaces<T>(kinds: readonly NamespaceKind[], fn: () => T): T {
  const homes = kinds.map((kind) => ({ kind, fd: openSync(`/proc/thread-self/ns/${kind}`, 'r') }));
  try {
    return fn();
  } finally {
    for (const { kind, fd } of homes) {
      // A process left in a sandbox's namespace would program that sandbox as if it were the host: nothing may go on.
      if (libc.setns(fd, CLONE[kind]) === -1) process.abort();
      closeSync(fd);
    }
  }
}
