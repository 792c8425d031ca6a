// Control groups of containers, on a host with the v1 hierarchies (alone or beside v2) or with v2 only. A cgroup is
// named by its absolute path, `/windlass-1a2b3c4d/<containerId>`; creating it is the OCI runtime's work.
import { readKernelText } from '../../lib/kernel-file.ts';
import type { CgroupMeasures } from './measures.ts';
import type { WritableResources } from './resources.ts';
import { createCgroupsV1 } from './v1.ts';
import { createCgroupsV2 } from './v2.ts';

export interface CgroupStats {
  readonly cpuUsageNs: number;
  readonly memoryUsageBytes: number;
  /** Usage without the file cache that could be dropped at once: what an OOM decision looks at. */
  readonly workingSetBytes: number;
  readonly rssBytes: number;
  readonly pageFaults: number;
  readonly majorPageFaults: number;
  /** undefined = no limit. */
  readonly memoryLimitBytes: number | undefined;
  readonly swapUsageBytes: number;
  readonly processes: number;
  readonly oomKills: number;
}

export interface Cgroups {
  readonly version: 'v1' | 'v2';
  /** Makes the group (and what it needs of its parents) with all controllers; exists = success. */
  create(path: string): void;
  /** Measurements now; undefined when the group is gone. */
  stats(path: string): CgroupStats | undefined;
  /** How often the kernel killed in the group for memory: the part of stats() that costs nothing; 0 when it is gone. */
  oomKills(path: string): number;
  /** All that is known of the group, for metrics; undefined when it is gone. */
  measures(path: string): CgroupMeasures | undefined;
  /** Huge page sizes (`2MB`) on which containers can have a limit. */
  hugepageSizes(): ReadonlySet<string>;
  /** Changes limits in place, all or none; an order that the kernel accepts whatever the old values are. */
  update(path: string, resources: WritableResources): void;
  /** Freezes every process of the group and waits until the kernel says so; gone = NotFound. */
  freeze(path: string, signal: AbortSignal): Promise<void>;
  thaw(path: string): void;
  isFrozen(path: string): boolean;
  /** Pids in the group and below; empty when gone. */
  pids(path: string): number[];
  /** SIGKILL to everything that is in the group and below now, frozen or not, without waiting. Gone = success. */
  signalAll(path: string): void;
  /** SIGKILL to everything in the group and below, frozen or not, until nothing is left there. Gone = success. */
  killAll(path: string, signal: AbortSignal): Promise<void>;
  /** Removes the group and those below from every hierarchy; gone = success, Conflict while processes are in it. */
  remove(path: string): void;
}

export interface CgroupMounts {
  /** controller (`memory`, `name=systemd`) -> mount point. */
  readonly v1: ReadonlyMap<string, string>;
  readonly v2: string | undefined;
}

/** The cgroup mounts in the text of a mountinfo file (proc(5)). */
export function parseCgroupMounts(mountinfo: string): CgroupMounts {
  const v1 = new Map<string, string>();
  let v2: string | undefined;
  for (const line of mountinfo.split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const mountPoint = left.split(' ')[4];
    const [type, , options = ''] = right.split(' ');
    if (mountPoint === undefined) continue;
    if (type === 'cgroup2') v2 ??= mountPoint;
    if (type !== 'cgroup') continue;
    for (const option of options.split(',')) {
      if (option !== 'rw' && option !== 'ro' && option !== 'xattr' && !v1.has(option)) v1.set(option, mountPoint);
    }
  }
  return { v1, v2 };
}

/** The host's cgroups: v1 when the memory controller is mounted there, else v2. */
export function openCgroups(mountinfo = readKernelText('/proc/self/mountinfo')): Cgroups {
  const mounts = parseCgroupMounts(mountinfo);
  if (mounts.v1.has('memory')) return createCgroupsV1(mounts);
  if (mounts.v2 !== undefined) return createCgroupsV2(mounts.v2);
  throw new Error('no cgroup hierarchy is mounted on this host: mount cgroup2 on /sys/fs/cgroup');
}
