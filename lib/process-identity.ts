// A process named so that a recycled pid is not mistaken for it: pid plus start time (proc(5), stat field 22).
import { readFileSync } from 'node:fs';
import { errnoOf } from './errors.ts';

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot. */
  readonly startTime: number;
}

/** Start time of a live process in clock ticks since boot; undefined when it is gone or a zombie. */
export function readStartTime(pid: number): number | undefined {
  return readProcess(pid)?.startTime;
}

/** A live process: when it started, and the name of what it runs (15 bytes of it); undefined when it is gone or a zombie. */
export function readProcess(pid: number): { readonly startTime: number; readonly name: string } | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return undefined;
    throw error;
  }
  // The command name may hold spaces and parentheses: fields are counted after the last one.
  const end = stat.lastIndexOf(')');
  const fields = stat.slice(end + 2).split(' ');
  if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
  return { startTime: Number(fields[19]), name: stat.slice(stat.indexOf('(') + 1, end) };
}

/** The identity of a live process; undefined when there is none with that pid. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const startTime = readStartTime(pid);
  return startTime === undefined ? undefined : { pid, startTime };
}

/** True while exactly this process lives. */
export function isRunning(identity: ProcessIdentity): boolean {
  return readStartTime(identity.pid) === identity.startTime;
}

/** Signals exactly this process; false when it is gone. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isRunning(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ESRCH') return false;
    throw error;
  }
}

/** SIGTERM, then SIGKILL after `graceMs`; resolves when the process is gone. */
export async function endProcess(identity: ProcessIdentity, graceMs: number): Promise<void> {
  if (!signalProcess(identity, 'SIGTERM')) return;
  const deadline = performance.now() + graceMs;
  let isKilled = false;
  while (isRunning(identity)) {
    if (!isKilled && performance.now() > deadline) {
      signalProcess(identity, 'SIGKILL');
      isKilled = true;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
