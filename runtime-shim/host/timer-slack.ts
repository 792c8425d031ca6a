// How late the kernel may wake a thread that sleeps (PR_SET_TIMERSLACK(2const), proc_pid_timerslack_ns(5)). A process has it
// from its parent and keeps it over execve(2).
import { readFileSync, writeFileSync } from 'node:fs';
import { errnoOf } from '../../lib/errors.ts';

const fileOf = (pid: number | 'self'): string => `/proc/${pid}/timerslack_ns`;

/** That of the first thread of a process, in nanoseconds; undefined where the kernel does not tell. Throws when it is gone. */
export function readTimerSlack(pid: number | 'self'): number | undefined {
  try {
    return Number(readFileSync(fileOf(pid), 'utf8'));
  } catch (error) {
    if (pid === 'self' && errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Sets it for the first thread of another process, and so for what that starts from then on. False when the process is
 * gone; EPERM without CAP_SYS_NICE over it.
 */
export function setTimerSlack(pid: number, slackNs: number): boolean {
  try {
    writeFileSync(fileOf(pid), String(slackNs));
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return false;
    throw error;
  }
}
