import { parseCount, parseKeyed, parseLimit } from './files.ts';
import { parseBlkio, type CgroupMeasures } from './measures.ts';

/** `cpuacct.stat` counts in ticks of a hundredth of a second on every Linux that Node runs on (USER_HZ). */
const TICK_NS = 10_000_000;

/** Everything of a v1 group; `read` gives the text of a controller's file, undefined when it is gone. */
export function readMeasuresV1(
  read: (controller: string, file: string) => string | undefined,
  hugepageSizes: readonly string[],
): CgroupMeasures | undefined {
  const cpuUsage = read('cpuacct', 'cpuacct.usage');
  if (cpuUsage === undefined) return undefined;
  const ticks = parseKeyed(read('cpuacct', 'cpuacct.stat'));
  const cpu = parseKeyed(read('cpu', 'cpu.stat'));
  const memory = parseKeyed(read('memory', 'memory.stat'));
  const of = (key: string): number => memory.get(key) ?? 0;
  const usageBytes = parseCount(read('memory', 'memory.usage_in_bytes'));
  const quota = Number((read('cpu', 'cpu.cfs_quota_us') ?? '-1').trim());
  return {
    cpu: {
      usageNs: parseCount(cpuUsage),
      userNs: (ticks.get('user') ?? 0) * TICK_NS,
      systemNs: (ticks.get('system') ?? 0) * TICK_NS,
      periods: cpu.get('nr_periods') ?? 0,
      throttledPeriods: cpu.get('nr_throttled') ?? 0,
      throttledNs: cpu.get('throttled_time') ?? 0,
    },
    memory: {
      usageBytes,
      maxUsageBytes: parseCount(read('memory', 'memory.max_usage_in_bytes')),
      workingSetBytes: Math.max(usageBytes - of('total_inactive_file'), 0),
      rssBytes: of('total_rss'),
      cacheBytes: of('total_cache'),
      mappedFileBytes: of('total_mapped_file'),
      kernelBytes: parseCount(read('memory', 'memory.kmem.usage_in_bytes')),
      swapBytes: of('total_swap'),
      limitHits: parseCount(read('memory', 'memory.failcnt')),
      oomKills: parseKeyed(read('memory', 'memory.oom_control')).get('oom_kill') ?? 0,
      pageFaults: [of('pgfault'), of('total_pgfault')],
      majorPageFaults: [of('pgmajfault'), of('total_pgmajfault')],
    },
    threads: parseCount(read('pids', 'pids.current')),
    hugepages: hugepageSizes.flatMap((pageSize) => {
      const usage = read('hugetlb', `hugetlb.${pageSize}.usage_in_bytes`);
      const maxUsageBytes = parseCount(read('hugetlb', `hugetlb.${pageSize}.max_usage_in_bytes`));
      return usage === undefined ? [] : [{ pageSize, usageBytes: parseCount(usage), maxUsageBytes }];
    }),
    io: parseBlkio(
      read('blkio', 'blkio.throttle.io_service_bytes_recursive'),
      read('blkio', 'blkio.throttle.io_serviced_recursive'),
    ),
    pressure: undefined,
    limits: {
      cpuPeriodUs: parseCount(read('cpu', 'cpu.cfs_period_us')),
      cpuQuotaUs: quota > 0 ? quota : undefined,
      cpuShares: parseCount(read('cpu', 'cpu.shares')),
      memoryBytes: parseLimit(read('memory', 'memory.limit_in_bytes')),
      memoryReservationBytes: parseLimit(read('memory', 'memory.soft_limit_in_bytes')),
      memorySwapBytes: parseLimit(read('memory', 'memory.memsw.limit_in_bytes')),
      threads: parseLimit(read('pids', 'pids.max')),
    },
  };
}
