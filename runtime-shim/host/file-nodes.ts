// File system objects and attributes that node:fs cannot make. Nothing here follows a final symlink.
import { AT_FDCWD, check, lastErrno, libc, SystemError } from './libc.ts';

const AT_SYMLINK_NOFOLLOW = 0x100;
const FILE_TYPE = { char: 0o020000, block: 0o060000, fifo: 0o010000 } as const;

/** Makes a device node; `mode` holds the permission bits (the umask applies). */
export function makeDevice(path: string, type: 'char' | 'block', mode: number, major: number, minor: number): void {
  check(libc.mknod(path, FILE_TYPE[type] | mode, deviceNumber(major, minor)), 'mknod', path);
}

/** glibc's makedev(): the low parts of both numbers keep their historical place. */
export function deviceNumber(major: number, minor: number): number {
  const bits = (value: number, shift: bigint): bigint => BigInt(value) << shift;
  return Number(
    bits(major & 0xfff, 8n) | bits(minor & 0xff, 0n) | bits(minor & 0xffffff00, 12n) | bits(major & ~0xfff, 32n),
  );
}

/** Makes a named pipe. */
export function makeFifo(path: string, mode: number): void {
  check(libc.mkfifo(path, mode), 'mkfifo', path);
}

/** Sets an extended attribute of the link itself. */
export function lsetxattr(path: string, name: string, value: Buffer): void {
  check(libc.lsetxattr(path, name, value, value.length, 0), 'lsetxattr', path);
}

/** An extended attribute of the link itself; undefined when it has none of that name. */
export function lgetxattr(path: string, name: string): Buffer | undefined {
  const size = libc.lgetxattr(path, name, null, 0);
  if (size === -1) {
    const error = new SystemError(lastErrno(), 'lgetxattr', path);
    if (error.code === 'ENODATA' || error.code === 'ENOTSUP' || error.code === 'EOPNOTSUPP') return undefined;
    throw error;
  }
  const value = Buffer.alloc(size);
  return value.subarray(0, check(libc.lgetxattr(path, name, value, size), 'lgetxattr', path));
}

/** Names of the extended attributes of the link itself. */
export function llistxattr(path: string): string[] {
  const size = check(libc.llistxattr(path, null, 0), 'llistxattr', path);
  if (size === 0) return [];
  const list = Buffer.alloc(size);
  const used = check(libc.llistxattr(path, list, size), 'llistxattr', path);
  return list.toString('utf8', 0, used).split('\0').filter(Boolean);
}

/** Sets both times of the link itself, in nanoseconds since the epoch. */
export function lutimesNs(path: string, atimeNs: bigint, mtimeNs: bigint): void {
  const times = Buffer.alloc(32);
  writeTimespec(times, 0, atimeNs);
  writeTimespec(times, 16, mtimeNs);
  check(libc.utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 'utimensat', path);
}

function writeTimespec(buffer: Buffer, offset: number, ns: bigint): void {
  const nanos = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  buffer.writeBigInt64LE((ns - nanos) / 1_000_000_000n, offset);
  buffer.writeBigInt64LE(nanos, offset + 8);
}
