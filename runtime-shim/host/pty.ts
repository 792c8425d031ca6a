// Pseudo-terminals.
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import koffi from 'koffi';
import { errnoOf } from '../../lib/errors.ts';
import { check, libc } from './libc.ts';
import { pollDescriptor } from './poll-descriptor.ts';

const library = koffi.load(null);
const call = <T>(name: string, parameters: readonly string[]): T =>
  library.func(name, 'int', [...parameters]) as unknown as T;
const grantpt = call<(fd: number) => number>('grantpt', ['int']);
const unlockpt = call<(fd: number) => number>('unlockpt', ['int']);
const ptsnameR = call<(fd: number, buffer: Buffer, size: number) => number>('ptsname_r', ['int', 'void *', 'size_t']);
const tcgetattr = call<(fd: number, state: Buffer) => number>('tcgetattr', ['int', 'void *']);
const tcsetattr = call<(fd: number, when: number, state: Buffer) => number>('tcsetattr', ['int', 'int', 'void *']);
const cfmakeraw = library.func('cfmakeraw', 'void', ['void *']) as unknown as (state: Buffer) => void;
const ioctl = call<(fd: number, request: number, data: Buffer) => number>('ioctl', ['int', 'ulong', 'void *']);

const TIOCSWINSZ = 0x5414;
const TCSANOW = 0;
const F_SETFL = 4;
/** More than one read(2) of a terminal gives. */
const READ_BYTES = 8 * 1024;
/** Device 5:2 (devices.txt of the kernel): what is opened to get a new terminal. */
const PTMX = { major: 5, minor: 2 } as const;

export interface Pty {
  readonly masterFd: number;
  /** For the child; the caller closes it once the child has it. */
  readonly slaveFd: number;
}

/**
 * A new pseudo-terminal that passes input on as it is and ends lines of output with a carriage return, as a runtime that
 * copies to it wants it. Neither end becomes the controlling terminal of this process.
 */
export function openPty(): Pty {
  const masterFd = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY);
  try {
    check(grantpt(masterFd), 'grantpt');
    check(unlockpt(masterFd), 'unlockpt');
    const name = Buffer.alloc(64);
    check(ptsnameR(masterFd, name, name.length) === 0 ? 0 : -1, 'ptsname_r');
    const slave = name.toString('utf8', 0, name.indexOf(0));
    const slaveFd = openSync(slave, constants.O_RDWR | constants.O_NOCTTY);
    try {
      makeInputRaw(slaveFd);
    } catch (error) {
      closeSync(slaveFd);
      throw error;
    }
    return { masterFd, slaveFd };
  } catch (error) {
    closeSync(masterFd);
    throw error;
  }
}

/** No echo, no editing, no signals; output is left as it was. */
function makeInputRaw(fd: number): void {
  // struct termios is 60 bytes; larger does not matter. The second of its flags are those of output.
  const state = Buffer.alloc(128);
  check(tcgetattr(fd, state), 'tcgetattr');
  const outputFlags = state.readUInt32LE(4);
  cfmakeraw(state);
  state.writeUInt32LE(outputFlags, 4);
  check(tcsetattr(fd, TCSANOW, state), 'tcsetattr');
}

/** True when the descriptor is the near end of a pseudo-terminal. */
export function isPtyMaster(fd: number): boolean {
  const stat = fstatSync(fd);
  const [major, minor] = [(stat.rdev >> 8) & 0xfff, stat.rdev & 0xff];
  return stat.isCharacterDevice() && major === PTMX.major && minor === PTMX.minor;
}

export interface PtyMaster {
  /** `done` is called when the terminal has taken it, or takes nothing any more. */
  write(chunk: Buffer, done: () => void): void;
  /** After onData said false. */
  resume(): void;
  /** Tells the terminal its size; the foreground process gets SIGWINCH. */
  setSize(columns: number, rows: number): void;
  /** Hangs up. */
  destroy(): void;
}

export interface PtyListener {
  /** Gets a chunk for itself; false stops the reading until resume(). */
  onData(chunk: Buffer): boolean;
  /** Nobody has the far end any more, and what was written there has been read; or destroy() was called. */
  onEnd(): void;
}

/**
 * Reads and writes the near end of a terminal, which is taken over. Unlike a tty.ReadStream it never blocks: a program
 * that reads nothing would hold up this whole process otherwise.
 */
export function openPtyMaster(masterFd: number, listener: PtyListener): PtyMaster {
  const onread = {
    buffer: Buffer.alloc(READ_BYTES),
    callback: (length: number, buffer: Uint8Array): boolean => listener.onData(Buffer.from(buffer.subarray(0, length))),
  };
  // The only flag that F_SETFL could take from it is the one that is set.
  check(libc.fcntl(masterFd, F_SETFL, constants.O_NONBLOCK), 'fcntl', 'O_NONBLOCK');
  const { socket, fd } = pollDescriptor(masterFd, { allowHalfOpen: true, readable: true, writable: true, onread });
  // EIO is how a terminal says that its other end was closed and all was read. But where that is seen together with a
  // last piece of output, libuv takes this piece for all there is.
  socket.on('error', () => socket.destroy());
  socket.once('end', () => {
    readRest(fd, (chunk) => void listener.onData(chunk));
    socket.destroy();
  });
  socket.once('close', () => listener.onEnd());
  return {
    write: (chunk, done) => void socket.write(chunk, () => done()),
    resume: () => void socket.resume(),
    setSize(columns, rows) {
      if (!socket.destroyed) setWindowSize(fd, columns, rows);
    },
    destroy: () => void socket.destroy(),
  };
}

/** A few KiB at most: a terminal holds no more. */
function readRest(fd: number, onData: (chunk: Buffer) => void): void {
  for (;;) {
    const chunk = Buffer.alloc(READ_BYTES);
    try {
      const length = readSync(fd, chunk);
      if (length === 0) return;
      onData(chunk.subarray(0, length));
    } catch (error) {
      if (['EIO', 'EAGAIN'].includes(errnoOf(error) ?? '')) return;
      throw error;
    }
  }
}

function setWindowSize(fd: number, columns: number, rows: number): void {
  const size = Buffer.alloc(8);
  size.writeUInt16LE(rows, 0);
  size.writeUInt16LE(columns, 2);
  check(ioctl(fd, TIOCSWINSZ, size), 'ioctl', 'TIOCSWINSZ');
}
