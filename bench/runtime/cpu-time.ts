// Processor time from /proc/<pid>/stat (proc(5), fields 14 to 17), which counts all threads of a process and, apart
// from its own time, that of the children it has waited for.
import { readFileSync } from 'node:fs';

/** Linux gives user space these units on every architecture (USER_HZ). */
const TICKS_PER_SECOND = 100;

/** Processor time of a process and of the children it has waited for. */
export function cpuMsOfProcess(pid: number): number {
  return sumOf(pid, [14, 15, 16, 17]);
}

/** Processor time of this process's children that have ended. */
export function cpuMsOfChildren(): number {
  return sumOf(process.pid, [16, 17]);
}

function sumOf(pid: number, fields: readonly number[]): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // Field 2 is the name in brackets, which may contain spaces and brackets itself.
  const rest = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.reduce((sum, field) => sum + Number(rest[field - 3]), 0);
  return (ticks * 1000) / TICKS_PER_SECOND;
}
