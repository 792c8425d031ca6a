import type { CgroupMeasures } from '../cgroups/measures.ts';
import type { MetricName, Sample } from './descriptors.ts';

export interface ContainerObservation {
  readonly nowMs: number;
  readonly startedAtMs: number;
  readonly measures: CgroupMeasures;
  readonly processes: { readonly count: number; readonly descriptors: number; readonly sockets: number };
  /** Soft limit of open files; undefined = unlimited or unknown. */
  readonly openFilesLimit: number | undefined;
  readonly filesystem: {
    readonly device: string;
    readonly limitBytes: number;
    readonly inodes: number;
    readonly inodesFree: number;
    /** Undefined when the writable layer is gone. */
    readonly usedBytes: number | undefined;
  };
  /** Device name (`/dev/vda`) of a major and minor number. */
  deviceName(major: number, minor: number): string;
}

/** Every sample of a running container. CRI's values are whole numbers: seconds are cut, never rounded up. */
export function containerSamples(observed: ContainerObservation): Sample[] {
  const { measures, processes } = observed;
  const { cpu, memory, limits } = measures;
  const one = (name: MetricName, value: number, ...labels: string[]): Sample => ({ name, value, labels });
  return [
    one('container_last_seen', Math.floor(observed.nowMs / 1000)),
    one('container_start_time_seconds', Math.floor(observed.startedAtMs / 1000)),
    one('container_cpu_usage_seconds_total', secondsOfNs(cpu.usageNs), 'total'),
    one('container_cpu_user_seconds_total', secondsOfNs(cpu.userNs)),
    one('container_cpu_system_seconds_total', secondsOfNs(cpu.systemNs)),
    one('container_cpu_cfs_periods_total', cpu.periods),
    one('container_cpu_cfs_throttled_periods_total', cpu.throttledPeriods),
    one('container_cpu_cfs_throttled_seconds_total', secondsOfNs(cpu.throttledNs)),
    one('container_memory_usage_bytes', memory.usageBytes),
    one('container_memory_max_usage_bytes', memory.maxUsageBytes),
    one('container_memory_working_set_bytes', memory.workingSetBytes),
    one('container_memory_rss', memory.rssBytes),
    one('container_memory_cache', memory.cacheBytes),
    one('container_memory_mapped_file', memory.mappedFileBytes),
    one('container_memory_kernel_usage', memory.kernelBytes),
    one('container_memory_swap', memory.swapBytes),
    one('container_memory_failcnt', memory.limitHits),
    one('container_memory_failures_total', memory.pageFaults[0], 'pgfault', 'container'),
    one('container_memory_failures_total', memory.pageFaults[1], 'pgfault', 'hierarchy'),
    one('container_memory_failures_total', memory.majorPageFaults[0], 'pgmajfault', 'container'),
    one('container_memory_failures_total', memory.majorPageFaults[1], 'pgmajfault', 'hierarchy'),
    one('container_oom_events_total', memory.oomKills),
    one('container_processes', processes.count),
    one('container_file_descriptors', processes.descriptors),
    one('container_sockets', processes.sockets),
    one('container_threads', measures.threads),
    one('container_threads_max', limits.threads ?? 0),
    ...(observed.openFilesLimit === undefined
      ? []
      : [one('container_ulimits_soft', observed.openFilesLimit, 'max_open_files')]),
    one('container_spec_cpu_period', limits.cpuPeriodUs),
    one('container_spec_cpu_shares', limits.cpuShares),
    ...(limits.cpuQuotaUs === undefined ? [] : [one('container_spec_cpu_quota', limits.cpuQuotaUs)]),
    one('container_spec_memory_limit_bytes', limits.memoryBytes ?? 0),
    one('container_spec_memory_reservation_limit_bytes', limits.memoryReservationBytes ?? 0),
    one('container_spec_memory_swap_limit_bytes', limits.memorySwapBytes ?? 0),
    ...measures.hugepages.flatMap(({ pageSize, usageBytes, maxUsageBytes }) => [
      one('container_hugetlb_usage_bytes', usageBytes, pageSize),
      ...(maxUsageBytes === undefined ? [] : [one('container_hugetlb_max_usage_bytes', maxUsageBytes, pageSize)]),
    ]),
    ...filesystemSamples(observed),
    ...deviceSamples(observed),
    ...pressureSamples(measures),
  ];
}

function filesystemSamples({ filesystem }: ContainerObservation): Sample[] {
  const { device, usedBytes } = filesystem;
  const one = (name: MetricName, value: number): Sample => ({ name, value, labels: [device] });
  return [
    one('container_fs_limit_bytes', filesystem.limitBytes),
    one('container_fs_inodes_total', filesystem.inodes),
    one('container_fs_inodes_free', filesystem.inodesFree),
    ...(usedBytes === undefined ? [] : [one('container_fs_usage_bytes', usedBytes)]),
  ];
}

function deviceSamples({ measures, deviceName }: ContainerObservation): Sample[] {
  return measures.io.flatMap(({ major, minor, readBytes, writtenBytes, reads, writes }) => {
    const device = deviceName(major, minor);
    const one = (name: MetricName, value: number): Sample => ({ name, value, labels: [device] });
    const usage = (operation: string, value: number): Sample => ({
      name: 'container_blkio_device_usage_total',
      value,
      labels: [device, String(major), String(minor), operation],
    });
    return [
      usage('Read', readBytes),
      usage('Write', writtenBytes),
      one('container_fs_reads_bytes_total', readBytes),
      one('container_fs_reads_total', reads),
      one('container_fs_writes_bytes_total', writtenBytes),
      one('container_fs_writes_total', writes),
    ];
  });
}

function pressureSamples({ pressure }: CgroupMeasures): Sample[] {
  if (!pressure) return [];
  return (['cpu', 'memory', 'io'] as const).flatMap((resource): Sample[] => [
    {
      name: `container_pressure_${resource}_waiting_seconds_total`,
      value: Math.floor(pressure[resource].some.totalUs / 1e6),
      labels: [],
    },
    {
      name: `container_pressure_${resource}_stalled_seconds_total`,
      value: Math.floor(pressure[resource].full.totalUs / 1e6),
      labels: [],
    },
  ]);
}

const secondsOfNs = (nanoseconds: number): number => Math.floor(nanoseconds / 1e9);
