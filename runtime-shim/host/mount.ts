// Mounts. "Already gone" is success for every unmount; everything else that fails is a SystemError.
import { closeSync, existsSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { readKernelText } from '../../lib/kernel-file.ts';
import { check, kernel, lastErrno, libc, SystemError } from './libc.ts';

/** Flags of mount(2). */
export const MS = {
  rdonly: 0x1,
  nosuid: 0x2,
  nodev: 0x4,
  noexec: 0x8,
  remount: 0x20,
  noatime: 0x400,
  bind: 0x1000,
  move: 0x2000,
  rec: 0x4000,
  unbindable: 0x20000,
  private: 0x40000,
  slave: 0x80000,
  shared: 0x100000,
  relatime: 0x200000,
} as const;

/** Flags of umount2(2). */
export const MNT = { force: 1, detach: 2, noFollow: 8 } as const;

export type Propagation = 'private' | 'slave' | 'shared';

/** One line of /proc/self/mountinfo. */
export interface MountEntry {
  readonly id: number;
  readonly parentId: number;
  readonly device: string;
  readonly root: string;
  readonly target: string;
  readonly options: readonly string[];
  /** `shared:N`, `master:N`, ... */
  readonly propagation: readonly string[];
  readonly fstype: string;
  readonly source: string;
  readonly superOptions: readonly string[];
}

/** mount(2) as it is. */
export function mount(source: string | null, target: string, fstype: string | null, flags = 0, data?: string): void {
  check(libc.mount(source, target, fstype, flags, data ?? null), 'mount', target);
}

/** Unmounts `target` without following a final symlink; a target that is absent or not a mount point is fine. */
export function umount(target: string, flags: number = 0): void {
  if (libc.umount2(target, flags | MNT.noFollow) === 0) return;
  const error = new SystemError(lastErrno(), 'umount2', target);
  if (error.code !== 'EINVAL' && error.code !== 'ENOENT') throw error;
}

/**
 * umount() of several targets at once, none of them in another, that does not hold up the event loop: the kernel waits
 * for its readers each time, and what it remembers of a million files takes it seconds to forget.
 */
export async function umountMeanwhile(targets: readonly string[], flags: number): Promise<void> {
  await Promise.all(
    targets.map(async (target) => {
      // What is not there needs neither a thread nor an error.
      if (!existsSync(target)) return;
      // Why it failed stays on the thread: the same here says it.
      if (!(await libc.umount2OnThread(target, flags | MNT.noFollow))) umount(target, flags);
    }),
  );
}

/** Binds `source` (file or folder) onto `target`, both existing. `readOnly` with `recursive` covers submounts too. */
export function bindMount(
  source: string,
  target: string,
  options: { readOnly?: boolean; recursive?: boolean; propagation?: Propagation } = {},
): void {
  const recursive = options.recursive ? MS.rec : 0;
  mount(source, target, null, MS.bind | recursive);
  try {
    if (options.readOnly) setReadOnly(target, options.recursive ?? false);
    if (options.propagation) mount(null, target, null, MS[options.propagation] | recursive);
  } catch (error) {
    umount(target, MNT.detach);
    throw error;
  }
}

const MOUNT_ATTR_RDONLY = 1n;
const AT_RECURSIVE = 0x8000;

function setReadOnly(target: string, recursive: boolean): void {
  // struct mount_attr: attr_set, attr_clr, propagation, userns_fd.
  const attributes = Buffer.alloc(32);
  attributes.writeBigUInt64LE(MOUNT_ATTR_RDONLY, 0);
  check(kernel.mountSetattr(target, recursive ? AT_RECURSIVE : 0, attributes), 'mount_setattr', target);
}

export interface OverlayOptions {
  /** Topmost first. */
  readonly lowerDirs: readonly string[];
  /** Absent = read-only overlay. */
  readonly upperDir?: string;
  readonly workDir?: string;
  readonly target: string;
  /** Further options, `volatile` or `metacopy=on`. */
  readonly options?: readonly string[];
}

const FSCONFIG = { setFlag: 0, setString: 1, create: 6 } as const;

/**
 * Mounts an overlay. The new mount API takes one `lowerdir+` per layer, so neither their number (up to 500) nor the
 * length of their paths is bound by the page that mount(2) data must fit in; kernels before 6.5 get mount(2).
 */
export function mountOverlay(overlay: OverlayOptions): void {
  const fd = kernel.fsopen('overlay');
  if (fd === -1) return mountOverlayByData(overlay);
  let mountFd = -1;
  try {
    for (const [index, lower] of overlay.lowerDirs.entries()) {
      if (kernel.fsconfig(fd, FSCONFIG.setString, 'lowerdir+', lower) === -1) {
        if (index === 0 && !isMissing(lower)) return mountOverlayByData(overlay);
        throw configError(fd, overlay.target, `lowerdir ${lower}`);
      }
    }
    for (const [key, value] of [
      ['upperdir', overlay.upperDir],
      ['workdir', overlay.workDir],
      ['source', 'overlay'],
    ] as const) {
      if (value !== undefined && kernel.fsconfig(fd, FSCONFIG.setString, key, value) === -1)
        throw configError(fd, overlay.target, `${key} ${value}`);
    }
    for (const option of overlay.options ?? []) setOption(fd, option, overlay.target);
    if (kernel.fsconfig(fd, FSCONFIG.create, null, null) === -1) {
      const error = configError(fd, overlay.target, 'create');
      // Before 6.5 overlayfs takes every parameter, and only now says that it does not know `lowerdir+`.
      if (error.code === 'EINVAL' && isMountedByData(overlay)) return;
      throw error;
    }
    mountFd = check(kernel.fsmount(fd, 0), 'fsmount', overlay.target);
    check(kernel.moveMount(mountFd, overlay.target), 'move_mount', overlay.target);
  } finally {
    closeSync(fd);
    if (mountFd !== -1) closeSync(mountFd);
  }
}

function setOption(fd: number, option: string, target: string): void {
  const [key, value] = splitOnce(option, '=');
  const result =
    value === undefined
      ? kernel.fsconfig(fd, FSCONFIG.setFlag, key, null)
      : kernel.fsconfig(fd, FSCONFIG.setString, key, value);
  if (result === -1) throw configError(fd, target, option);
}

/** The kernel explains a refused option in messages read from the context fd. */
function configError(fd: number, target: string, step: string): SystemError {
  const errno = lastErrno();
  const message = Buffer.alloc(1024);
  let detail = step;
  try {
    detail = `${step}: ${message.toString('utf8', 0, readSync(fd, message)).trim()}`;
  } catch (error) {
    // ENODATA: the kernel has nothing to add.
    if ((error as NodeJS.ErrnoException).code !== 'ENODATA') detail = `${step}: ${String(error)}`;
  }
  return new SystemError(errno, 'fsconfig', target, detail);
}

function isMountedByData(overlay: OverlayOptions): boolean {
  try {
    mountOverlayByData(overlay);
    return true;
  } catch {
    // What the first try had to say is the better answer.
    return false;
  }
}

function mountOverlayByData(overlay: OverlayOptions): void {
  // Colons separate lower folders and backslashes escape them.
  const escape = (path: string): string => path.replaceAll(/[\\:,]/g, (char) => `\\${char}`);
  const data = [
    `lowerdir=${overlay.lowerDirs.map(escape).join(':')}`,
    overlay.upperDir && `upperdir=${escape(overlay.upperDir)}`,
    overlay.workDir && `workdir=${escape(overlay.workDir)}`,
    ...(overlay.options ?? []),
  ]
    .filter(Boolean)
    .join(',');
  mount('overlay', overlay.target, 'overlay', 0, data);
}

const isMissing = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) === undefined;

/** A tmpfs on `target`; `data` such as `size=64m,mode=1777`. */
export function mountTmpfs(target: string, data = '', flags: number = MS.nosuid | MS.nodev): void {
  mount('tmpfs', target, 'tmpfs', flags, data);
}

/** Every mount this process sees, in mount order. */
export function readMounts(): MountEntry[] {
  return readKernelText('/proc/self/mountinfo').split('\n').filter(Boolean).map(parseMountLine);
}

/** Parses a line of mountinfo (proc(5)); blanks in paths arrive as octal escapes. */
export function parseMountLine(line: string): MountEntry {
  const [left, right = ''] = splitOnce(line, ' - ');
  const [id, parentId, device = '', root = '', target = '', options = '', ...propagation] = left.split(' ');
  const [fstype = '', source = '', superOptions = ''] = right.split(' ');
  return {
    id: Number(id),
    parentId: Number(parentId),
    device,
    root: unescapePath(root),
    target: unescapePath(target),
    options: options.split(','),
    propagation,
    fstype,
    source: unescapePath(source),
    superOptions: superOptions.split(','),
  };
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const index = text.indexOf(separator);
  return index === -1 ? [text, undefined] : [text.slice(0, index), text.slice(index + separator.length)];
}

function unescapePath(text: string): string {
  if (!text.includes('\\')) return text;
  return Buffer.from(
    text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    'latin1',
  ).toString('utf8');
}

/** Unmounts (lazily) everything mounted at or below `prefix`, deepest first; returns how many mounts went. */
export function umountTree(prefix: string): number {
  const targets = readMounts()
    .map(({ target }) => target)
    .filter((target) => target === prefix || target.startsWith(`${prefix}/`));
  for (const target of targets.toReversed()) umount(target, MNT.detach);
  return targets.length;
}

/** True when `path` is the pin of a namespace (a bind mount of an nsfs file). */
export function isNamespacePin(path: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
  try {
    // An unmounted pin is an empty file of the file system that holds it; nsfs has one device of its own.
    return fstatSync(fd).dev === statSync('/proc/self/ns/net').dev;
  } finally {
    closeSync(fd);
  }
}
