// What the machine says about itself.
import { statfsSync } from 'node:fs';
import { readFile, statfs } from 'node:fs/promises';
import { arch, availableParallelism, hostname, release, totalmem } from 'node:os';
import { diskShortage, type DiskReserve } from '../../../lib/disk-reserve.ts';
import { firstOwnAddress } from '../../../lib/node-address.ts';
import type { NodeFacts } from './node-object.ts';

/** Facts that are read once; `home` is on the disk that holds the bytes. */
export async function readNodeFacts(
  given: Pick<NodeFacts, 'name' | 'agentPort' | 'agentVersion'> & {
    home: string;
    listenHost: string;
    nodeIps: readonly string[];
  },
): Promise<NodeFacts> {
  const { home, listenHost, nodeIps, ...rest } = given;
  const disk = await statfs(home);
  const bootId = await readText('/proc/sys/kernel/random/boot_id');
  return {
    ...rest,
    hostname: hostname(),
    addresses: nodeIps.length > 0 ? nodeIps : [reachableAddress(listenHost)],
    cpus: availableParallelism(),
    memoryBytes: totalmem(),
    diskBytes: disk.blocks * disk.bsize,
    kernelVersion: release(),
    osImage: /^PRETTY_NAME="?([^"\n]*)"?/m.exec(await readText('/etc/os-release'))?.[1] ?? 'Linux',
    architecture: arch(),
    machineId: (await readText('/etc/machine-id')) || bootId.replaceAll('-', ''),
    bootId,
  };
}

/** What the disk of `home` has too little of; also when that cannot be told, nothing is said. */
export function diskProblem(home: string, reserve: DiskReserve): string | undefined {
  try {
    return diskShortage(statfsSync(home), reserve)?.message;
  } catch {
    return undefined;
  }
}

/** The address others reach the listener at: as said, or the first of the machine when it listens on all. */
function reachableAddress(listenHost: string): string {
  return listenHost === '0.0.0.0' || listenHost === '::' ? firstOwnAddress() : listenHost;
}

/** Files that a slim machine may lack. */
async function readText(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text.trim();
}
