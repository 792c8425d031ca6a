// Pseudo-terminals.
import { closeSync, constants, openSync } from 'node:fs';
import koffi from 'koffi';
import { check } from './libc.ts';

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
