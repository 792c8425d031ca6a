// Descriptors that another program sends over a unix socket (SCM_RIGHTS, unix(7)): Node drops them.
import { chmodSync, closeSync, rmSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import koffi from 'koffi';
import { check, lastErrno, libc, SystemError } from './libc.ts';
import { onceReadable } from './poll-descriptor.ts';
import { AF_UNIX, unixAddress } from './unix-address.ts';

const iovec = koffi.struct('iovec', { base: 'void *', length: 'size_t' });
const msghdr = koffi.struct('msghdr', {
  ...{ name: 'void *', nameLength: 'uint' },
  ...{ vector: koffi.pointer(iovec), vectorLength: 'size_t' },
  ...{ control: 'void *', controlLength: 'size_t', flags: 'int' },
});
const library = koffi.load(null);
const recvmsg = library.func('recvmsg', 'long', ['int', koffi.pointer(msghdr), 'int']) as unknown as (
  fd: number,
  message: object,
  flags: number,
) => number;
const listen = library.func('listen', 'int', ['int', 'int']) as unknown as (fd: number, backlog: number) => number;
const accept4 = library.func('accept4', 'int', ['int', 'void *', 'void *', 'int']) as unknown as (
  fd: number,
  address: null,
  length: null,
  flags: number,
) => number;

const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CMSG_CLOEXEC = 0x40000000;
/** cmsg(3): length, level and type; 64-bit hosts only, as koffi's layout above. */
const HEADER_BYTES = 16;
/** Room for more than the one that is wanted: what has none is closed by the kernel. */
const CONTROL_BYTES = HEADER_BYTES + 8 * 4;
/** With it comes a name of the terminal, or a blank. */
const TEXT_BYTES = 4096;

export interface DescriptorListener {
  /** Takes what has come already and stops; the socket is gone afterwards. */
  close(): void;
}

/**
 * Listens at the socket `name` in `directory`, for root alone, until one descriptor has come. It is close-on-exec and
 * `onDescriptor`'s, which is called once; with undefined when none came: close() was called, or the first who connected
 * sent none or could not be heard.
 */
export function listenForDescriptor(
  directory: string,
  name: string,
  onDescriptor: (fd: number | undefined) => void,
): DescriptorListener {
  const file = join(directory, name);
  const listener = openListener(directory, name);
  let connection: number | undefined;
  let waiting: Disposable | undefined;
  let isClosed = false;

  const end = (fd?: number): void => {
    release();
    onDescriptor(fd);
  };
  const release = (): void => {
    isClosed = true;
    waiting?.[Symbol.dispose]();
    if (connection !== undefined) closeSync(connection);
    closeSync(listener);
    rmSync(file, { force: true });
  };
  /** Goes as far as what has come allows. */
  const look = (): void => {
    let fd: number | 'none' | 'nothing yet';
    try {
      connection ??= acceptOne(listener);
      fd = connection === undefined ? 'nothing yet' : receive(connection);
    } catch (error) {
      // Out of descriptors, say. The sender finds the connection closed and tells why it failed.
      if (!(error instanceof SystemError)) throw error;
      fd = 'none';
    }
    if (fd !== 'nothing yet') end(fd === 'none' ? undefined : fd);
  };
  const wait = (): void => {
    waiting = onceReadable(connection ?? listener, () => {
      look();
      if (!isClosed) wait();
    });
  };
  try {
    wait();
  } catch (error) {
    release();
    throw error;
  }
  return {
    close() {
      if (!isClosed) look();
      if (!isClosed) end();
    },
  };
}

function openListener(directory: string, name: string): number {
  using address = unixAddress(directory, name);
  const fd = check(libc.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket');
  const file = join(directory, name);
  try {
    check(libc.bind(fd, address.bytes, address.bytes.length), 'bind', file);
    // Nobody can connect before listen().
    chmodSync(file, 0o600);
    check(listen(fd, 1), 'listen', file);
    return fd;
  } catch (error) {
    closeSync(fd);
    rmSync(file, { force: true });
    throw error;
  }
}

function acceptOne(listener: number): number | undefined {
  const fd = accept4(listener, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return fd === -1 && isTooEarly() ? undefined : check(fd, 'accept4');
}

/** The first descriptor of the next message. */
function receive(connection: number): number | 'none' | 'nothing yet' {
  const control = Buffer.alloc(CONTROL_BYTES);
  const text = Buffer.alloc(TEXT_BYTES);
  const message = {
    ...{ name: null, nameLength: 0, vector: [{ base: text, length: text.length }], vectorLength: 1 },
    ...{ control, controlLength: control.length, flags: 0 },
  };
  const length = recvmsg(connection, message, MSG_CMSG_CLOEXEC);
  if (length === -1) {
    if (isTooEarly()) return 'nothing yet';
    throw new SystemError(lastErrno(), 'recvmsg');
  }
  const [first, ...more] = parseDescriptors(control);
  for (const fd of more) closeSync(fd);
  return first ?? 'none';
}

/** Descriptors in a control message; empty when the kernel wrote none. */
export function parseDescriptors(control: Buffer): number[] {
  const length = Number(control.readBigUInt64LE(0));
  if (control.readInt32LE(8) !== SOL_SOCKET || control.readInt32LE(12) !== SCM_RIGHTS) return [];
  const count = Math.floor((Math.min(length, control.length) - HEADER_BYTES) / 4);
  return Array.from({ length: Math.max(0, count) }, (_, index) => control.readInt32LE(HEADER_BYTES + 4 * index));
}

const isTooEarly = (): boolean =>
  [constants.errno.EAGAIN, constants.errno.EINTR, constants.errno.ECONNABORTED].includes(lastErrno());
