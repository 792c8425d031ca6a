// System calls that Node lacks, bound once with koffi. Every wrapper returns the call's result or throws a SystemError;
// structures cross as Buffers in host byte order.
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';

const library = koffi.load(null);

/** A failed system call, in the form of Node's own errors: `code` is the errno name. */
export class SystemError extends Error {
  override readonly name = 'SystemError';
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
  readonly path: string | undefined;

  constructor(errno: number, syscall: string, path?: string, detail?: string) {
    const code = errnoName(errno);
    super([`${code}: ${syscall} failed`, path && ` for ${path}`, detail && `: ${detail}`].filter(Boolean).join(''));
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
    this.path = path;
  }
}

function errnoName(errno: number): string {
  try {
    return getSystemErrorName(-errno);
  } catch {
    // getSystemErrorName() knows libuv's table only; the rest keeps its number.
    return `E${errno}`;
  }
}

/** errno of the last call made through this module on this thread. */
export function lastErrno(): number {
  return koffi.errno();
}

/** Returns `result` unless it is -1, in which case the failed call is thrown. */
export function check(result: number, syscall: string, path?: string): number {
  if (result === -1) throw new SystemError(koffi.errno(), syscall, path);
  return result;
}

type Text = string | null;

const bind = <T>(name: string, result: string, parameters: readonly string[]): T =>
  library.func(name, result, [...parameters]) as unknown as T;

/** Calls a function of a library on a thread of the pool; what it leaves in errno stays there. */
export function onThread(call: ReturnType<typeof library.func>, ...values: readonly unknown[]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    call.async(...values, (error: unknown, result: unknown) => {
      if (error) reject(new Error('failed to call a function on a thread', { cause: error }));
      else resolve(result);
    });
  });
}

const threadUmount = library.func('umount2', 'int', ['str', 'int']);

/** libc functions as they are: -1 and errno on failure (posix_spawn* return the error number instead). */
export const libc = {
  mount: bind<(source: Text, target: string, fstype: Text, flags: number, data: Text) => number>('mount', 'int', [
    'str',
    'str',
    'str',
    'ulong',
    'str',
  ]),
  umount2: bind<(target: string, flags: number) => number>('umount2', 'int', ['str', 'int']),
  /** On a thread of the pool; false when it failed, for a reason that stays on that thread. */
  umount2OnThread: async (target: string, flags: number): Promise<boolean> =>
    (await onThread(threadUmount, target, flags)) === 0,
  unshare: bind<(flags: number) => number>('unshare', 'int', ['int']),
  setns: bind<(fd: number, type: number) => number>('setns', 'int', ['int', 'int']),
  sethostname: bind<(name: Buffer, length: number) => number>('sethostname', 'int', ['void *', 'size_t']),
  mknod: bind<(path: string, mode: number, device: number) => number>('mknod', 'int', ['str', 'uint', 'uint64']),
  mkfifo: bind<(path: string, mode: number) => number>('mkfifo', 'int', ['str', 'uint']),
  lsetxattr: bind<(path: string, name: string, value: Buffer, size: number, flags: number) => number>(
    'lsetxattr',
    'int',
    ['str', 'str', 'void *', 'size_t', 'int'],
  ),
  lgetxattr: bind<(path: string, name: string, value: Buffer | null, size: number) => number>('lgetxattr', 'long', [
    'str',
    'str',
    'void *',
    'size_t',
  ]),
  llistxattr: bind<(path: string, list: Buffer | null, size: number) => number>('llistxattr', 'long', [
    'str',
    'void *',
    'size_t',
  ]),
  utimensat: bind<(dirFd: number, path: string, times: Buffer, flags: number) => number>('utimensat', 'int', [
    'int',
    'str',
    'void *',
    'int',
  ]),
  flock: bind<(fd: number, operation: number) => number>('flock', 'int', ['int', 'int']),
  fcntl: bind<(fd: number, command: number, argument: number) => number>('fcntl', 'int', ['int', 'int', 'long']),
  socket: bind<(domain: number, type: number, protocol: number) => number>('socket', 'int', ['int', 'int', 'int']),
  bind: bind<(fd: number, address: Buffer, length: number) => number>('bind', 'int', ['int', 'void *', 'uint']),
  getsockname: bind<(fd: number, address: Buffer, length: Buffer) => number>('getsockname', 'int', [
    'int',
    'void *',
    'void *',
  ]),
  setsockopt: bind<(fd: number, level: number, option: number, value: Buffer, length: number) => number>(
    'setsockopt',
    'int',
    ['int', 'int', 'int', 'void *', 'uint'],
  ),
  send: bind<(fd: number, data: Buffer, length: number, flags: number) => number>('send', 'long', [
    'int',
    'void *',
    'size_t',
    'int',
  ]),
  sendto: bind<
    (fd: number, data: Buffer, length: number, flags: number, address: Buffer, addressLength: number) => number
  >('sendto', 'long', ['int', 'void *', 'size_t', 'int', 'void *', 'uint']),
  recv: bind<(fd: number, data: Buffer, length: number, flags: number) => number>('recv', 'long', [
    'int',
    'void *',
    'size_t',
    'int',
  ]),
  waitpid: bind<(pid: number, status: Buffer, options: number) => number>('waitpid', 'int', ['int', 'void *', 'int']),
  ifNameToIndex: bind<(name: string) => number>('if_nametoindex', 'uint', ['str']),
  posixSpawn: bind<
    (pid: Buffer, file: string, actions: Buffer, attributes: Buffer, argv: string[], env: string[]) => number
  >('posix_spawn', 'int', ['void *', 'str', 'void *', 'void *', 'str *', 'str *']),
  posixSpawnActions: {
    init: bind<(actions: Buffer) => number>('posix_spawn_file_actions_init', 'int', ['void *']),
    destroy: bind<(actions: Buffer) => number>('posix_spawn_file_actions_destroy', 'int', ['void *']),
    dup2: bind<(actions: Buffer, from: number, to: number) => number>('posix_spawn_file_actions_adddup2', 'int', [
      'void *',
      'int',
      'int',
    ]),
    close: bind<(actions: Buffer, fd: number) => number>('posix_spawn_file_actions_addclose', 'int', ['void *', 'int']),
    closeFrom: bind<(actions: Buffer, fd: number) => number>('posix_spawn_file_actions_addclosefrom_np', 'int', [
      'void *',
      'int',
    ]),
    chdir: bind<(actions: Buffer, path: string) => number>('posix_spawn_file_actions_addchdir_np', 'int', [
      'void *',
      'str',
    ]),
  },
  posixSpawnAttributes: {
    init: bind<(attributes: Buffer) => number>('posix_spawnattr_init', 'int', ['void *']),
    destroy: bind<(attributes: Buffer) => number>('posix_spawnattr_destroy', 'int', ['void *']),
    setFlags: bind<(attributes: Buffer, flags: number) => number>('posix_spawnattr_setflags', 'int', [
      'void *',
      'int16',
    ]),
    setSignalDefaults: bind<(attributes: Buffer, set: Buffer) => number>('posix_spawnattr_setsigdefault', 'int', [
      'void *',
      'void *',
    ]),
    setSignalMask: bind<(attributes: Buffer, set: Buffer) => number>('posix_spawnattr_setsigmask', 'int', [
      'void *',
      'void *',
    ]),
  },
} as const;

const backgroundSend = library.func('send', 'long', ['int', 'void *', 'size_t', 'int']);

/** send(2) on a thread of the pool; errno stays on that thread, so a failure is reported as EIO. */
export async function sendInBackground(fd: number, data: Buffer): Promise<void> {
  const sent = await onThread(backgroundSend, fd, data, data.length, 0);
  if (Number(sent) !== data.length) throw new SystemError(constants.errno.EIO, 'send', 'netlink');
}

const rawSyscalls = {
  path2: bind<(n: number, a: number, b: Text, c: number) => number>('syscall', 'long', ['long', 'long', 'str', 'long']),
  texts: bind<(n: number, fd: number, command: number, key: Text, value: Text, aux: number) => number>(
    'syscall',
    'long',
    ['long', 'long', 'long', 'str', 'str', 'long'],
  ),
  move: bind<(n: number, fromFd: number, from: string, toFd: number, to: string, flags: number) => number>(
    'syscall',
    'long',
    ['long', 'long', 'str', 'long', 'str', 'long'],
  ),
  open: bind<(n: number, name: string, flags: number) => number>('syscall', 'long', ['long', 'str', 'long']),
  numbers: bind<(n: number, a: number, b: number, c: number, d: number) => number>('syscall', 'long', [
    'long',
    'long',
    'long',
    'long',
    'long',
  ]),
  how: bind<(n: number, dirFd: number, path: string, how: Buffer, size: number) => number>('syscall', 'long', [
    'long',
    'long',
    'str',
    'void *',
    'size_t',
  ]),
  attributes: bind<(n: number, fd: number, path: string, flags: number, value: Buffer, size: number) => number>(
    'syscall',
    'long',
    ['long', 'long', 'str', 'long', 'void *', 'size_t'],
  ),
} as const;

/** Calls without a libc wrapper in Debian 12; their numbers (above 423) are the same on every architecture. */
export const kernel = {
  openTree: (dirFd: number, path: string, flags: number): number => rawSyscalls.path2(428, dirFd, path, flags),
  moveMount: (fromFd: number, to: string): number => rawSyscalls.move(429, fromFd, '', AT_FDCWD, to, 0x4),
  fsopen: (fstype: string): number => rawSyscalls.open(430, fstype, 1),
  fsconfig: (fd: number, command: number, key: Text, value: Text): number =>
    rawSyscalls.texts(431, fd, command, key, value, 0),
  fsmount: (fd: number, attributes: number): number => rawSyscalls.numbers(432, fd, 1, attributes, 0),
  openat2: (dirFd: number, path: string, how: Buffer): number => rawSyscalls.how(437, dirFd, path, how, how.length),
  pidfdOpen: (pid: number): number => rawSyscalls.numbers(434, pid, 0, 0, 0),
  pidfdSendSignal: (fd: number, signal: number): number => rawSyscalls.numbers(424, fd, signal, 0, 0),
  mountSetattrOf: (fd: number, flags: number, value: Buffer): number =>
    rawSyscalls.attributes(442, fd, '', flags, value, value.length),
  mountSetattr: (path: string, flags: number, value: Buffer): number =>
    rawSyscalls.attributes(442, AT_FDCWD, path, flags, value, value.length),
} as const;

export const AT_FDCWD = -100;
