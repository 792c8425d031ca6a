// cgroup v2: one hierarchy, controllers switched on from parent to child.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import type { Cgroups, CgroupStats } from './cgroups.ts';
import {
  killQuietly,
  makeGroup,
  parseCount,
  parseKeyed,
  parseLimit,
  readCgroupFile,
  readProcsBelow,
  removeTree,
  writeAllOrNone,
  type FileWrite,
} from './files.ts';
import { hostHugepageSizes } from './hugepages.ts';
import { readMeasuresV2 } from './measures-v2.ts';
import { weightOfShares, type WritableResources } from './resources.ts';

const CONTROLLERS = ['cpu', 'cpuset', 'io', 'memory', 'pids', 'hugetlb'];

/** Cgroups over the v2 hierarchy mounted at `mount`. */
export function createCgroupsV2(mount: string): Cgroups {
  const file = (path: string, name: string): string => join(mount, path, name);
  const kill = (path: string, pids: readonly number[]): void => {
    try {
      // One write for the whole tree, that no fork escapes and that reaches frozen processes too.
      if (pids.length > 0) writeFileSync(file(path, 'cgroup.kill'), '1');
    } catch (error) {
      // Kernels before 5.14 have no cgroup.kill; a gone group has no processes.
      if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENODEV') throw error;
      for (const pid of pids) killQuietly(pid);
    }
  };
  return {
    version: 'v2',
    create(path) {
      let current = mount;
      for (const part of path.split('/').filter((name) => name !== '')) {
        enableControllers(current);
        current = join(current, part);
        makeGroup(current);
      }
      enableControllers(current);
    },
    stats: (path) => readStats((name) => readCgroupFile(file(path, name))),
    oomKills: (path) => parseOomKills(readCgroupFile(file(path, 'memory.events'))),
    measures: (path) => readMeasuresV2((name) => readCgroupFile(file(path, name)), hostHugepageSizes()),
    hugepageSizes: () => new Set(readControllers(mount).includes('hugetlb') ? hostHugepageSizes() : []),
    update(path, resources) {
      refuseDeadlyLimit(
        resources,
        readStats((name) => readCgroupFile(file(path, name))),
      );
      writeAllOrNone(planWritesV2(resources, (name) => file(path, name)));
    },
    async freeze(path, signal) {
      write(file(path, 'cgroup.freeze'), '1', path);
      while (parseKeyed(readCgroupFile(file(path, 'cgroup.events'))).get('frozen') === 0) {
        await sleep(1, undefined, { signal });
      }
    },
    thaw: (path) => write(file(path, 'cgroup.freeze'), '0', path),
    isFrozen: (path) => readCgroupFile(file(path, 'cgroup.freeze'))?.trim() === '1',
    pids: (path) => readProcsBelow(join(mount, path)),
    signalAll: (path) => kill(path, readProcsBelow(join(mount, path))),
    async killAll(path, signal) {
      for (;;) {
        const pids = readProcsBelow(join(mount, path));
        if (pids.length === 0) return;
        kill(path, pids);
        await sleep(1, undefined, { signal });
      }
    },
    remove: (path) => removeTree(join(mount, path)),
  };
}

function readControllers(directory: string): string[] {
  return readFileSync(join(directory, 'cgroup.controllers'), 'utf8').trim().split(' ');
}

/** v1 refuses a limit below what is in use; v2 takes it and kills until it holds. */
function refuseDeadlyLimit({ memoryBytes = -1 }: WritableResources, stats: CgroupStats | undefined): void {
  if (memoryBytes < 0 || !stats || stats.workingSetBytes <= memoryBytes) return;
  throw new WindlassError(
    'Invalid',
    `resources.memory_limit_in_bytes: ${memoryBytes} is below the ${stats.workingSetBytes} bytes in use`,
  );
}

function enableControllers(directory: string): void {
  const available = readControllers(directory);
  for (const controller of CONTROLLERS.filter((name) => available.includes(name))) {
    try {
      writeFileSync(join(directory, 'cgroup.subtree_control'), `+${controller}`);
    } catch (error) {
      // One that cannot be switched on (EBUSY, ENOENT) is missed by whoever sets a limit of it, who says so by name.
      if (errnoOf(error) === undefined) throw error;
    }
  }
}

function write(file: string, value: string, path: string): void {
  try {
    writeFileSync(file, value);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENODEV') {
      throw new WindlassError('NotFound', `control group ${path} is gone`, { cause: error });
    }
    throw error;
  }
}

/** Measurements from the group's files; `read` gives the text of one, undefined when it is gone. */
export function readStats(read: (file: string) => string | undefined): CgroupStats | undefined {
  const cpu = read('cpu.stat');
  if (cpu === undefined) return undefined;
  const memory = parseKeyed(read('memory.stat'));
  const usage = parseCount(read('memory.current'));
  return {
    cpuUsageNs: (parseKeyed(cpu).get('usage_usec') ?? 0) * 1000,
    memoryUsageBytes: usage,
    workingSetBytes: Math.max(usage - (memory.get('inactive_file') ?? 0), 0),
    rssBytes: memory.get('anon') ?? 0,
    pageFaults: memory.get('pgfault') ?? 0,
    majorPageFaults: memory.get('pgmajfault') ?? 0,
    memoryLimitBytes: parseLimit(read('memory.max')),
    swapUsageBytes: parseCount(read('memory.swap.current')),
    processes: parseCount(read('pids.current')),
    oomKills: parseOomKills(read('memory.events')),
  };
}

const parseOomKills = (text: string | undefined): number => parseKeyed(text).get('oom_kill') ?? 0;

/** The writes, in order; v2 has no rule between memory.max and memory.swap.max, and quota and period are one file. */
export function planWritesV2(resources: WritableResources, file: (name: string) => string): FileWrite[] {
  const writes: FileWrite[] = [];
  const set = (name: string, value: number | string): void => {
    writes.push({ file: file(name), value: String(value) });
  };
  const limit = (value: number): number | string => (value < 0 ? 'max' : value);
  const { memoryBytes, memorySwapBytes } = resources;
  if (memoryBytes !== undefined) set('memory.max', limit(memoryBytes));
  const withSwap = memorySwapBytes ?? memoryBytes;
  if (withSwap !== undefined) {
    // CRI counts both together; without a limit of memory there is nothing to subtract.
    const memory = memoryBytes ?? parseLimit(readCgroupFile(file('memory.max'))) ?? 0;
    set('memory.swap.max', withSwap < 0 ? 'max' : Math.max(withSwap - Math.max(memory, 0), 0));
  }
  if (resources.cpuShares !== undefined) set('cpu.weight', weightOfShares(resources.cpuShares));
  if (resources.cpuQuotaUs !== undefined || resources.cpuPeriodUs !== undefined) {
    const [oldQuota = 'max', oldPeriod = '100000'] = (readCgroupFile(file('cpu.max')) ?? '').trim().split(' ');
    const quota = resources.cpuQuotaUs === undefined ? oldQuota || 'max' : limit(resources.cpuQuotaUs);
    set('cpu.max', `${quota} ${resources.cpuPeriodUs ?? oldPeriod}`);
  }
  if (resources.cpusetCpus !== undefined) set('cpuset.cpus', resources.cpusetCpus);
  if (resources.cpusetMems !== undefined) set('cpuset.mems', resources.cpusetMems);
  if (resources.pids !== undefined) set('pids.max', limit(resources.pids));
  for (const { pageSize, limit } of resources.hugepages ?? []) set(`hugetlb.${pageSize}.max`, limit);
  for (const [name, value] of Object.entries(resources.unified ?? {})) set(name, value);
  return writes;
}
