import { lastErrno, libc, SystemError } from './libc.ts';

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Takes the exclusive advisory lock (flock(2)) of an open file; false when another process has it. The lock goes with the
 * descriptor, and so with its process, however that ends.
 */
export function tryLock(fd: number): boolean {
  if (libc.flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const error = new SystemError(lastErrno(), 'flock');
  if (error.code === 'EAGAIN' || error.code === 'EWOULDBLOCK') return false;
  throw error;
}
