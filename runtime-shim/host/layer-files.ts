// File-system calls for unpacking layers, whose names are byte strings (file-nodes.ts takes text).
import { constants } from 'node:os';
import koffi from 'koffi';
import type { FileSystemCalls } from '../../oci/layers/file-system-calls.ts';

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const MAX_XATTR_BYTES = 65536;

const ERRNO_NAMES = new Map<number, string>();
for (const [name, value] of Object.entries(constants.errno)) {
  if (!ERRNO_NAMES.has(value)) ERRNO_NAMES.set(value, name);
}
// Linux gives both names one number; Node's table may list either first.
ERRNO_NAMES.set(constants.errno.EOPNOTSUPP, 'ENOTSUP');

/** Binds the calls. Paths are byte strings, and a link at their end is never followed. */
export function createLayerFiles(): FileSystemCalls {
  const libc = koffi.load('libc.so.6');
  const mknod = libc.func('int mknod(const uint8_t *path, uint32_t mode, uint64_t device)');
  const lsetxattr = libc.func(
    'int lsetxattr(const uint8_t *path, const uint8_t *name, const uint8_t *value, size_t size, int flags)',
  );
  const llistxattr = libc.func('int64_t llistxattr(const uint8_t *path, uint8_t *list, size_t size)');
  const lgetxattr = libc.func(
    'int64_t lgetxattr(const uint8_t *path, const uint8_t *name, uint8_t *value, size_t size)',
  );
  const utimensat = libc.func('int utimensat(int directory, const uint8_t *path, const int64_t *times, int flags)');
  const futimens = libc.func('int futimens(int fd, const int64_t *times)');
  // Made once: most files have no attributes at all, and layers have many files.
  const list = Buffer.alloc(MAX_XATTR_BYTES);
  const value = Buffer.alloc(MAX_XATTR_BYTES);
  const times = new BigInt64Array(4);
  const setTimes = (seconds: number, nanoseconds: number): void => {
    times[0] = times[2] = BigInt(seconds);
    times[1] = times[3] = BigInt(nanoseconds);
  };

  return {
    mknod(path, mode, major, minor) {
      check('mknod', mknod(zeroEnded(path), mode, makeDevice(major, minor)) as number, path);
    },
    lsetxattr(path, name, value) {
      check('lsetxattr', lsetxattr(zeroEnded(path), zeroEnded(name), value, value.length, 0) as number, path);
    },
    readXattrs(path) {
      const result = new Map<string, Buffer>();
      const length = Number(llistxattr(zeroEnded(path), list, list.length));
      if (length === 0) return result;
      if (length < 0 && koffi.errno() === constants.errno.EOPNOTSUPP) return result;
      check('llistxattr', length, path);
      for (const name of list.toString('latin1', 0, length).split('\0')) {
        if (name === '') continue;
        const size = Number(lgetxattr(zeroEnded(path), zeroEnded(name), value, value.length));
        // The attribute may be gone again, or be one that only its owner can read.
        if (size >= 0) result.set(name, Buffer.from(value.subarray(0, size)));
      }
      return result;
    },
    lutimens(path, seconds, nanoseconds) {
      setTimes(seconds, nanoseconds);
      check('utimensat', utimensat(AT_FDCWD, zeroEnded(path), times, AT_SYMLINK_NOFOLLOW) as number, path);
    },
    futimens(fd, seconds, nanoseconds) {
      setTimes(seconds, nanoseconds);
      check('futimens', futimens(fd, times) as number, `fd ${fd}`);
    },
  };
}

function check(call: string, result: number, path: string): void {
  if (result >= 0) return;
  const errno = koffi.errno();
  const code = ERRNO_NAMES.get(errno) ?? `errno ${errno}`;
  throw Object.assign(new Error(`${code}: ${call} '${path}'`), { code, errno: -errno, syscall: call, path });
}

function zeroEnded(text: string): Buffer {
  return Buffer.from(`${text}\0`, 'latin1');
}

/** glibc's gnu_dev_makedev(). */
function makeDevice(major: number, minor: number): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return (low & 0xffn) | ((high & 0xfffn) << 8n) | ((low & ~0xffn) << 12n) | ((high & ~0xfffn) << 32n);
}
