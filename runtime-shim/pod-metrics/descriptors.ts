// The metrics of CRI's ListMetricDescriptors: those that cAdvisor has for containers, by its names and with its labels,
// so that a dashboard or an alert works the same whichever of the two a kubelet asks.

/** Labels of every metric: container and pod by name, control group, image, and CRI's id. */
export const BASE_LABELS = ['container', 'id', 'image', 'name', 'namespace', 'pod'] as const;

export interface MetricKind {
  readonly type: 'COUNTER' | 'GAUGE';
  readonly help: string;
  /** Labels beside the common ones. */
  readonly labels: readonly string[];
}

const counter = (help: string, ...labels: string[]): MetricKind => ({ type: 'COUNTER', help, labels });
const gauge = (help: string, ...labels: string[]): MetricKind => ({ type: 'GAUGE', help, labels });

export const METRIC_KINDS = {
  container_blkio_device_usage_total: counter(
    'Bytes read from and written to block devices.',
    ...['device', 'major', 'minor', 'operation'],
  ),
  container_cpu_cfs_periods_total: counter('Enforcement periods of the CPU quota that have passed.'),
  container_cpu_cfs_throttled_periods_total: counter('Enforcement periods in which the CPU quota ran out.'),
  container_cpu_cfs_throttled_seconds_total: counter('Seconds for which the container was throttled.'),
  container_cpu_system_seconds_total: counter('CPU seconds spent in the kernel.'),
  container_cpu_usage_seconds_total: counter('CPU seconds used.', 'cpu'),
  container_cpu_user_seconds_total: counter('CPU seconds spent in user mode.'),
  container_file_descriptors: gauge('Open file descriptors of all processes.'),
  container_fs_inodes_free: gauge('Free inodes of the file system that holds the writable layer.', 'device'),
  container_fs_inodes_total: gauge('Inodes of the file system that holds the writable layer.', 'device'),
  container_fs_limit_bytes: gauge('Size of the file system that holds the writable layer.', 'device'),
  container_fs_reads_bytes_total: counter('Bytes read from a block device.', 'device'),
  container_fs_reads_total: counter('Reads completed by a block device.', 'device'),
  container_fs_usage_bytes: gauge('Bytes used by the writable layer.', 'device'),
  container_fs_writes_bytes_total: counter('Bytes written to a block device.', 'device'),
  container_fs_writes_total: counter('Writes completed by a block device.', 'device'),
  container_hugetlb_max_usage_bytes: gauge('Highest use of huge pages so far.', 'pagesize'),
  container_hugetlb_usage_bytes: gauge('Huge pages in use.', 'pagesize'),
  container_last_seen: gauge('When the container was measured, in seconds since 1970.'),
  container_memory_cache: gauge('Bytes of page cache.'),
  container_memory_failcnt: counter('How often a memory limit was hit.'),
  container_memory_failures_total: counter('Page faults.', 'failure_type', 'scope'),
  container_memory_kernel_usage: gauge('Bytes of kernel memory.'),
  container_memory_mapped_file: gauge('Bytes of files mapped into memory.'),
  container_memory_max_usage_bytes: gauge('Highest memory use so far.'),
  container_memory_rss: gauge('Bytes of anonymous memory.'),
  container_memory_swap: gauge('Bytes in swap.'),
  container_memory_usage_bytes: gauge('Bytes of memory in use, caches included.'),
  container_memory_working_set_bytes: gauge('Bytes of memory in use that cannot be dropped at once.'),
  container_network_receive_bytes_total: counter('Bytes received.', 'interface'),
  container_network_receive_errors_total: counter('Errors while receiving.', 'interface'),
  container_network_receive_packets_dropped_total: counter('Packets dropped while receiving.', 'interface'),
  container_network_receive_packets_total: counter('Packets received.', 'interface'),
  container_network_transmit_bytes_total: counter('Bytes sent.', 'interface'),
  container_network_transmit_errors_total: counter('Errors while sending.', 'interface'),
  container_network_transmit_packets_dropped_total: counter('Packets dropped while sending.', 'interface'),
  container_network_transmit_packets_total: counter('Packets sent.', 'interface'),
  container_oom_events_total: counter('Processes killed for want of memory.'),
  container_pressure_cpu_stalled_seconds_total: counter('Seconds in which every process waited for a CPU.'),
  container_pressure_cpu_waiting_seconds_total: counter('Seconds in which some process waited for a CPU.'),
  container_pressure_io_stalled_seconds_total: counter('Seconds in which every process waited for I/O.'),
  container_pressure_io_waiting_seconds_total: counter('Seconds in which some process waited for I/O.'),
  container_pressure_memory_stalled_seconds_total: counter('Seconds in which every process waited for memory.'),
  container_pressure_memory_waiting_seconds_total: counter('Seconds in which some process waited for memory.'),
  container_processes: gauge('Processes.'),
  container_sockets: gauge('Open sockets of all processes.'),
  container_spec_cpu_period: gauge('Period of the CPU quota in microseconds.'),
  container_spec_cpu_quota: gauge('CPU quota in microseconds per period.'),
  container_spec_cpu_shares: gauge('CPU shares.'),
  container_spec_memory_limit_bytes: gauge('Memory limit; 0 = none.'),
  container_spec_memory_reservation_limit_bytes: gauge(
    'Memory that is spared while there is other to reclaim; 0 = none.',
  ),
  container_spec_memory_swap_limit_bytes: gauge('Limit of memory and swap together; 0 = none.'),
  container_start_time_seconds: gauge('When the container was started, in seconds since 1970.'),
  container_threads: gauge('Threads.'),
  container_threads_max: gauge('Limit of threads; 0 = none.'),
  container_ulimits_soft: gauge('Soft limits of the first process that are not unlimited.', 'ulimit'),
} as const satisfies Readonly<Record<string, MetricKind>>;

export type MetricName = keyof typeof METRIC_KINDS;

/** One value, with the values of the labels its metric has beside the common ones. */
export interface Sample {
  readonly name: MetricName;
  readonly value: number;
  readonly labels: readonly string[];
}
