// What the shim and the containers' monitors hold.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { inFlight } from '../measure.ts';
import type { SharedInput } from './peer.ts';
import { createShim } from './shim.ts';

/** How long a process gets to give back what it no longer uses. */
const REST_MS = 20_000;

/** A sentence with the resident size of an idle shim, its growth per container, and conmon's share. */
export async function measureMemory(input: SharedInput, count: number): Promise<string> {
  const shim = await createShim(input, { ociRuntime: 'crun', poolSize: 16 });
  try {
    await sleep(REST_MS);
    const idle = readKilobytes(shim.pid, 'status', 'VmRSS');
    // The first ones fill caches and grow the heap to its working size; what comes on top of that is the containers'.
    const names = Array.from({ length: count }, (_, index) => `memory-${index}`);
    const [first, rest] = [names.slice(0, count / 2), names.slice(count / 2)];
    await inFlight(8, first, shim.start);
    await sleep(REST_MS);
    const half = readKilobytes(shim.pid, 'status', 'VmRSS');
    await inFlight(8, rest, shim.start);
    await sleep(REST_MS);
    const full = readKilobytes(shim.pid, 'status', 'VmRSS');
    const conmons = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isConmonOf(name, shim.run));
    const shares = conmons.map((pid) => readKilobytes(Number(pid), 'smaps_rollup', 'Pss'));
    const share = shares.reduce((sum, value) => sum + value, 0) / shares.length;
    await inFlight(8, names, shim.remove);
    // Last: to watch the turns takes memory.
    await shim.longestTurn();
    await sleep(REST_MS);
    const atRest = await shim.longestTurn();
    return (
      `Resident size of the shim: ${megabytes(idle)} MB idle, ${megabytes(full)} MB with ${count} containers ` +
      `(${((full - half) / rest.length).toFixed(0)} KB for each of the last ${rest.length}); ` +
      `conmon: ${(share / 1024).toFixed(2)} MB (PSS) each. Longest turn while it comes to rest without them: ` +
      `${atRest.cpuMs.toFixed(0)} ms of processor time.`
    );
  } finally {
    await shim.close();
  }
}

const megabytes = (kilobytes: number): string => (kilobytes / 1024).toFixed(0);

function readKilobytes(pid: number, file: string, key: string): number {
  const text = readFileSync(`/proc/${pid}/${file}`, 'utf8');
  return Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? Number.NaN);
}

function isConmonOf(pid: string, run: string): boolean {
  try {
    const [program = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return program.endsWith('conmon') && args.some((argument) => argument.startsWith(`${run}/`));
  } catch {
    // It ended between being listed and being read.
    return false;
  }
}
