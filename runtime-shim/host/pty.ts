// Pseudo-terminals.
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import koffi from 'koffi';
import { isRunning, type ProcessIdentity } from '../../lib/process-identity.ts';
import { check, kernel } from './libc.ts';

const library = koffi.load(null);
const call = <T>(name: string, parameters: readonly string[]): T =>
  library.func(name, 'int', [...parameters]) as unknown as T;
const grantpt = call<(fd: number) => number>('grantpt', ['int']);
const unlockpt = call<(fd: number) => number>('unlockpt', ['int']);
const ptsnameR = call<(fd: number, buffer: Buffer, size: number) => number>('ptsname_r', ['int', 'void *', 'size_t']);
const ioctl = call<(fd: number, request: number, data: Buffer) => number>('ioctl', ['int', 'ulong', 'void *']);

const TIOCSWINSZ = 0x5414;

export interface Pty {
  readonly masterFd: number;
  /** For the child; the caller closes it once the child has it. */
  readonly slaveFd: number;
}

/** A new pseudo-terminal; neither end becomes the controlling terminal of this process. */
export function openPty(): Pty {
  const masterFd = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY);
  try {
    check(grantpt(masterFd), 'grantpt');
    check(unlockpt(masterFd), 'unlockpt');
    const name = Buffer.alloc(64);
    check(ptsnameR(masterFd, name, name.length) === 0 ? 0 : -1, 'ptsname_r');
    const slave = name.toString('utf8', 0, name.indexOf(0));
    return { masterFd, slaveFd: openSync(slave, constants.O_RDWR | constants.O_NOCTTY) };
  } catch (error) {
    closeSync(masterFd);
    throw error;
  }
}

/** Tells the terminal its size; the foreground process gets SIGWINCH. */
export function setWindowSize(fd: number, columns: number, rows: number): void {
  const size = Buffer.alloc(8);
  size.writeUInt16LE(rows, 0);
  size.writeUInt16LE(columns, 2);
  check(ioctl(fd, TIOCSWINSZ, size), 'ioctl', 'TIOCSWINSZ');
}

/**
 * Tells the terminal that a process has as its stdin; false where it has none, or is gone. The descriptor is copied and
 * looked at, for opening what a container put there could be anything.
 */
export function setWindowSizeOf(identity: ProcessIdentity, columns: number, rows: number): boolean {
  const pidfd = kernel.pidfdOpen(identity.pid);
  if (pidfd === -1) return false;
  try {
    const fd = isRunning(identity) ? kernel.pidfdGetfd(pidfd, 0) : -1;
    if (fd === -1) return false;
    try {
      if (!isPseudoTerminal(fd)) return false;
      setWindowSize(fd, columns, rows);
      return true;
    } finally {
      closeSync(fd);
    }
  } finally {
    closeSync(pidfd);
  }
}

/** Major numbers 136 to 143 (devices.txt of the kernel). */
function isPseudoTerminal(fd: number): boolean {
  const stat = fstatSync(fd);
  const major = (stat.rdev >> 8) & 0xfff;
  return stat.isCharacterDevice() && major >= 136 && major <= 143;
}
