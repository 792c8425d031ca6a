// Signals that cannot hit the wrong process: a pid file descriptor is opened first and the start time compared after,
// so that a recycled pid is noticed.
import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { isRunning, readStartTime, type ProcessIdentity } from '../../lib/process-identity.ts';
import { check, kernel, lastErrno, SystemError } from './libc.ts';

/** A pollable handle of the process; the caller closes it. Throws ESRCH when there is none. */
export function openPidfd(pid: number): number {
  return check(kernel.pidfdOpen(pid), 'pidfd_open', String(pid));
}

/** Signals exactly this process; false when it is gone. A number is for the real-time signals, which have no name in Node. */
export function signalExactProcess(identity: ProcessIdentity, signal: NodeJS.Signals | number): boolean {
  const fd = kernel.pidfdOpen(identity.pid);
  if (fd === -1) {
    const error = new SystemError(lastErrno(), 'pidfd_open', String(identity.pid));
    if (error.code === 'ESRCH') return false;
    throw error;
  }
  try {
    if (!isRunning(identity)) return false;
    const number = typeof signal === 'number' ? signal : constants.signals[signal];
    if (kernel.pidfdSendSignal(fd, number) === 0) return true;
    const error = new SystemError(lastErrno(), 'pidfd_send_signal', String(identity.pid));
    if (error.code === 'ESRCH') return false;
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** True while a process with this pid (and start time, if given) lives. */
export function isAlive(pid: number, startTime?: number): boolean {
  const current = readStartTime(pid);
  return current !== undefined && (startTime === undefined || current === startTime);
}
