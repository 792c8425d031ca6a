// conmon and OCI runtime processes that no record names: those of a container that was half made, and of programs that
// were being run in a container, when a shim died. They are found by the bundle in their arguments.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { identifyProcess, isRunning, type ProcessIdentity } from '../../lib/process-identity.ts';
import { signalExactProcess } from '../host/processes.ts';

/** Processes with an argument that `isOurs`: a path that only programs of ours are given. */
export function findByArgument(isOurs: (argument: string) => boolean): ProcessIdentity[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((name) => {
      // Identified first: what is read afterwards is of this process or of none.
      const identity = identifyProcess(Number(name));
      const matches = readQuietly(`/proc/${name}/cmdline`).split('\0').some(isOurs);
      return identity && matches && isRunning(identity) ? [identity] : [];
    });
}

/** Waits until the processes have ended by themselves, for `graceMs`; then SIGKILL, and waits for that. */
export async function endProcesses(
  processes: readonly ProcessIdentity[],
  graceMs: number,
  signal: AbortSignal,
): Promise<void> {
  const deadline = performance.now() + graceMs;
  for (const identity of processes) {
    for (let isKilled = false; isRunning(identity);) {
      if (!isKilled && performance.now() >= deadline) {
        signalExactProcess(identity, 'SIGKILL');
        isKilled = true;
      }
      await sleep(1, undefined, { signal });
    }
  }
}

/** SIGKILL to the process and all below it, children first found: a parent that is gone starts no more. */
export function killTree(root: ProcessIdentity): void {
  const children = readQuietly(`/proc/${root.pid}/task/${root.pid}/children`)
    .split(' ')
    .flatMap((pid) => (pid === '' ? [] : (identifyProcess(Number(pid)) ?? [])));
  if (!isRunning(root)) return;
  signalExactProcess(root, 'SIGKILL');
  for (const child of children) killTree(child);
}

/** Processes end between being listed and being read. */
function readQuietly(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
