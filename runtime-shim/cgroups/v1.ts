// cgroup v1: one hierarchy per controller, each with its own directory of the same path.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, isNotFound, WindlassError } from '../../lib/errors.ts';
import type { CgroupMounts, Cgroups, CgroupStats } from './cgroups.ts';
import {
  childDirectories,
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
import { readMeasuresV1 } from './measures-v1.ts';
import type { WritableResources } from './resources.ts';

/** Rounds of plain SIGKILL before the group is frozen for it: nearly always one is enough. */
const ROUNDS_BEFORE_FREEZE = 100;
/** A round reads many files, a look at whether the killed are gone only one. */
const LOOKS_PER_ROUND = 5;
const TRIES_BEFORE_THAW = 50;
const THAW_MS = 10;

/** Cgroups over the v1 hierarchies; a v2 mount beside them is only cleaned. */
export function createCgroupsV1(mounts: CgroupMounts): Cgroups {
  const directory = (controller: string, path: string): string =>
    `${mounts.v1.get(controller) ?? '/nonexistent'}${path}`;
  const v1Mounts = [...new Set(mounts.v1.values())];
  const allMounts = [...new Set([...v1Mounts, ...(mounts.v2 === undefined ? [] : [mounts.v2])])];
  const everywhere = (path: string): string[] => allMounts.map((mount) => `${mount}${path}`);
  const freezer = (path: string): string => `${directory('freezer', path)}/freezer.state`;

  async function setFrozen(path: string, signal: AbortSignal): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      signal.throwIfAborted();
      writeState(freezer(path), 'FROZEN', path);
      if (readCgroupFile(freezer(path))?.trim() === 'FROZEN') return;
      // FREEZING: a process that forks meanwhile needs another round. One that is in exec(2) waits for threads of its
      // own that are frozen already and would wait for ever: it is let go from time to time.
      if (tries % TRIES_BEFORE_THAW === 0) {
        writeState(freezer(path), 'THAWED', path);
        await sleep(THAW_MS, undefined, { signal });
      } else {
        await sleep(1, undefined, { signal });
      }
    }
  }

  /** Everybody in the group, by the hierarchies that a fork bomb cannot leave; by all of them when those are empty. */
  function findAnybody(path: string): ReadonlySet<number> {
    const usual = ['freezer', 'pids'].map((controller) => directory(controller, path));
    const pids = usual.flatMap(readProcsBelow);
    if (pids.length > 0) return new Set(pids);
    // A process whose maker was killed while it moved it in is in some of the hierarchies only.
    return new Set(everywhere(path).flatMap((group) => (usual.includes(group) ? [] : readProcsBelow(group))));
  }

  function kill(path: string, pids: ReadonlySet<number>): void {
    if (pids.size === 0) return;
    // A frozen process takes no signal, not even this one.
    thawTree(path);
    for (const pid of pids) killQuietly(pid);
  }

  /** Against something that forks faster than it is killed: frozen, it cannot, and one pass sees every process. */
  async function killFrozen(path: string, signal: AbortSignal): Promise<void> {
    try {
      await setFrozen(path, signal);
      for (const pid of findAnybody(path)) killQuietly(pid);
    } catch (error) {
      if (!(error instanceof WindlassError && error.reason === 'NotFound')) throw error;
    } finally {
      thawTree(path);
    }
  }

  function thawTree(path: string): void {
    if (!existsSync(freezer(path))) return;
    try {
      writeState(freezer(path), 'THAWED', path);
    } catch (error) {
      if (isNotFound(error)) return;
      throw error;
    }
    for (const child of childDirectories(directory('freezer', path))) thawTree(join(path, child));
  }

  return {
    version: 'v1',
    create(path) {
      for (const mount of v1Mounts) makeGroup(`${mount}${path}`);
      const cpuset = mounts.v1.get('cpuset');
      if (cpuset !== undefined) inheritCpuset(cpuset, path);
    },
    stats: (path) => readStats((controller, file) => readCgroupFile(directory(controller, path), file)),
    oomKills: (path) => parseOomKills(readCgroupFile(directory('memory', path), 'memory.oom_control')),
    measures: (path) =>
      readMeasuresV1((controller, file) => readCgroupFile(directory(controller, path), file), hostHugepageSizes()),
    // A hugetlb controller of a v2 mount beside v1 is out of reach: OCI runtimes put containers in the v1 groups only.
    hugepageSizes: () => new Set(mounts.v1.has('hugetlb') ? hostHugepageSizes() : []),
    update: (path, resources) => writeAllOrNone(planWritesV1(resources, (controller) => directory(controller, path))),
    freeze: setFrozen,
    thaw: (path) => writeState(freezer(path), 'THAWED', path),
    isFrozen: (path) => ['FROZEN', 'FREEZING'].includes(readCgroupFile(freezer(path))?.trim() ?? ''),
    pids: (path) => readProcsBelow(directory('pids', path)),
    signalAll: (path) => kill(path, findAnybody(path)),
    async killAll(path, signal) {
      for (let round = 1; ; round += 1) {
        const pids = findAnybody(path);
        if (pids.size === 0) return;
        kill(path, pids);
        if (round % ROUNDS_BEFORE_FREEZE === 0) await killFrozen(path, signal);
        for (let looks = 0; looks < LOOKS_PER_ROUND; looks += 1) {
          await sleep(1, undefined, { signal });
          if (parseCount(readCgroupFile(directory('pids', path), 'pids.current')) === 0) break;
        }
      }
    },
    remove(path) {
      for (const group of everywhere(path)) removeTree(group);
    },
  };
}

function writeState(file: string, state: string, path: string): void {
  try {
    writeFileSync(file, state);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENODEV') {
      throw new WindlassError('NotFound', `control group ${path} is gone`, { cause: error });
    }
    throw error;
  }
}

/** A new cpuset group has no CPUs and takes no process until it gets its parent's. */
function inheritCpuset(mount: string, path: string): void {
  const parts = path.split('/').filter((name) => name !== '');
  const own = join(mount, ...parts);
  if (parts.length === 0) return;
  const missing = ['cpuset.cpus', 'cpuset.mems'].filter((file) => readFileSync(join(own, file), 'utf8').trim() === '');
  if (missing.length === 0) return;
  // A group that has them cannot have a parent without.
  inheritCpuset(mount, parts.slice(0, -1).join('/'));
  for (const file of missing) writeFileSync(join(own, file), readFileSync(join(own, '..', file), 'utf8'));
}

const parseOomKills = (text: string | undefined): number => parseKeyed(text).get('oom_kill') ?? 0;

/** Measurements from the controllers' files; `read` gives the text of one, undefined when it is gone. */
export function readStats(read: (controller: string, file: string) => string | undefined): CgroupStats | undefined {
  const cpuUsage = read('cpuacct', 'cpuacct.usage');
  if (cpuUsage === undefined) return undefined;
  const memory = parseKeyed(read('memory', 'memory.stat'));
  const usage = parseCount(read('memory', 'memory.usage_in_bytes'));
  const withSwap = parseCount(read('memory', 'memory.memsw.usage_in_bytes'));
  return {
    cpuUsageNs: parseCount(cpuUsage),
    memoryUsageBytes: usage,
    workingSetBytes: Math.max(usage - (memory.get('total_inactive_file') ?? 0), 0),
    rssBytes: memory.get('total_rss') ?? 0,
    pageFaults: memory.get('total_pgfault') ?? 0,
    majorPageFaults: memory.get('total_pgmajfault') ?? 0,
    memoryLimitBytes: parseLimit(read('memory', 'memory.limit_in_bytes')),
    swapUsageBytes: Math.max(withSwap - usage, 0),
    processes: parseCount(read('pids', 'pids.current')),
    oomKills: parseOomKills(read('memory', 'memory.oom_control')),
  };
}

/**
 * The writes, in an order the kernel takes. The limit with swap may never be below the one without: whichever way
 * both move, it is first lifted out of the way. A quota must fit its period, so it is taken off before that changes.
 */
export function planWritesV1(resources: WritableResources, directory: (controller: string) => string): FileWrite[] {
  const writes: FileWrite[] = [];
  const set = (controller: string, file: string, value: number | string): void => {
    writes.push({ file: join(directory(controller), file), value: String(value) });
  };
  const { memoryBytes, memorySwapBytes } = resources;
  const hasSwapLimit = existsSync(join(directory('memory'), 'memory.memsw.limit_in_bytes'));
  if (memorySwapBytes !== undefined && memorySwapBytes !== memoryBytes && !hasSwapLimit) {
    throw new WindlassError('Invalid', 'resources.memory_swap_limit_in_bytes: the kernel of this host counts no swap');
  }
  if (memoryBytes !== undefined) {
    if (hasSwapLimit) set('memory', 'memory.memsw.limit_in_bytes', -1);
    set('memory', 'memory.limit_in_bytes', memoryBytes);
    // No swap beyond the limit unless asked for: then the limit means what it says.
    if (hasSwapLimit) set('memory', 'memory.memsw.limit_in_bytes', memorySwapBytes ?? memoryBytes);
  } else if (memorySwapBytes !== undefined && hasSwapLimit) {
    set('memory', 'memory.memsw.limit_in_bytes', memorySwapBytes);
  }
  if (resources.cpuShares !== undefined) set('cpu', 'cpu.shares', resources.cpuShares);
  if (resources.cpuPeriodUs !== undefined) {
    set('cpu', 'cpu.cfs_quota_us', -1);
    set('cpu', 'cpu.cfs_period_us', resources.cpuPeriodUs);
  }
  if (resources.cpuQuotaUs !== undefined) set('cpu', 'cpu.cfs_quota_us', resources.cpuQuotaUs);
  if (resources.cpusetCpus !== undefined) set('cpuset', 'cpuset.cpus', resources.cpusetCpus);
  if (resources.cpusetMems !== undefined) set('cpuset', 'cpuset.mems', resources.cpusetMems);
  if (resources.pids !== undefined) set('pids', 'pids.max', resources.pids < 0 ? 'max' : resources.pids);
  for (const { pageSize, limit } of resources.hugepages ?? []) {
    set('hugetlb', `hugetlb.${pageSize}.limit_in_bytes`, limit);
  }
  if (resources.unified !== undefined) {
    throw new WindlassError(
      'Invalid',
      `resources.unified: ${Object.keys(resources.unified).join(', ')} need a host with cgroup v2`,
    );
  }
  return writes;
}
