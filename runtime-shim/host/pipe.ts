// Anonymous pipes as bare descriptors, for children that are not started by node:child_process.
import koffi from 'koffi';
import { check } from './libc.ts';

const pipe2 = koffi.load(null).func('pipe2', 'int', ['void *', 'int']) as unknown as (
  fds: Buffer,
  flags: number,
) => number;
const O_CLOEXEC = 0o2000000;

export interface Pipe {
  readonly readFd: number;
  readonly writeFd: number;
}

/** A new pipe; both ends are close-on-exec and the caller's to close. */
export function createPipe(): Pipe {
  const fds = Buffer.alloc(8);
  check(pipe2(fds, O_CLOEXEC), 'pipe2');
  return { readFd: fds.readInt32LE(0), writeFd: fds.readInt32LE(4) };
}
