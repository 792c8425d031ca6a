import { parseCount, parseKeyed, parseLimit } from './files.ts';
import { parseIoStat, parsePressure, type CgroupMeasures } from './measures.ts';
import { sharesOfWeight } from './resources.ts';

/** Everything of a v2 group; `read` gives the text of a file, undefined when it is gone or its controller is off. */
export function readMeasuresV2(
  read: (file: string) => string | undefined,
  hugepageSizes: readonly string[],
): CgroupMeasures | undefined {
  const cpuStat = read('cpu.stat');
  if (cpuStat === undefined) return undefined;
  const cpu = parseKeyed(cpuStat);
  const memory = parseKeyed(read('memory.stat'));
  const events = parseKeyed(read('memory.events'));
  const of = (key: string): number => memory.get(key) ?? 0;
  const microseconds = (key: string): number => (cpu.get(key) ?? 0) * 1000;
  const usageBytes = parseCount(read('memory.current'));
  const [quota = 'max', period = '100000'] = (read('cpu.max') ?? 'max 100000').trim().split(' ');
  const memoryBytes = parseLimit(read('memory.max'));
  const swapBytes = parseLimit(read('memory.swap.max'));
  const pressure = ['cpu', 'memory', 'io'].map((name) => parsePressure(read(`${name}.pressure`)));
  const [cpuPressure, memoryPressure, ioPressure] = pressure;
  return {
    cpu: {
      usageNs: microseconds('usage_usec'),
      userNs: microseconds('user_usec'),
      systemNs: microseconds('system_usec'),
      periods: cpu.get('nr_periods') ?? 0,
      throttledPeriods: cpu.get('nr_throttled') ?? 0,
      throttledNs: microseconds('throttled_usec'),
    },
    memory: {
      usageBytes,
      // Kernels before 5.19 keep no peak.
      maxUsageBytes: parseCount(read('memory.peak')),
      workingSetBytes: Math.max(usageBytes - of('inactive_file'), 0),
      rssBytes: of('anon'),
      cacheBytes: of('file'),
      mappedFileBytes: of('file_mapped'),
      kernelBytes: of('kernel'),
      swapBytes: parseCount(read('memory.swap.current')),
      limitHits: events.get('max') ?? 0,
      oomKills: events.get('oom_kill') ?? 0,
      // v2 counts hierarchically only.
      pageFaults: [of('pgfault'), of('pgfault')],
      majorPageFaults: [of('pgmajfault'), of('pgmajfault')],
    },
    threads: parseCount(read('pids.current')),
    hugepages: hugepageSizes.flatMap((pageSize) => {
      const usage = read(`hugetlb.${pageSize}.current`);
      return usage === undefined ? [] : [{ pageSize, usageBytes: parseCount(usage), maxUsageBytes: undefined }];
    }),
    io: parseIoStat(read('io.stat')),
    pressure:
      cpuPressure && memoryPressure && ioPressure
        ? { cpu: cpuPressure, memory: memoryPressure, io: ioPressure }
        : undefined,
    limits: {
      cpuPeriodUs: Number(period),
      cpuQuotaUs: quota === 'max' ? undefined : Number(quota),
      cpuShares: sharesOfWeight(parseCount(read('cpu.weight') ?? '100')),
      memoryBytes,
      memoryReservationBytes: parseLimit(read('memory.low')) || undefined,
      // CRI and v1 count memory and swap together.
      memorySwapBytes: memoryBytes === undefined || swapBytes === undefined ? undefined : memoryBytes + swapBytes,
      threads: parseLimit(read('pids.max')),
    },
  };
}
