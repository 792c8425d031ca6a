import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerSamples, type ContainerObservation } from '../../../../runtime-shim/pod-metrics/container-samples.ts';
import { METRIC_KINDS } from '../../../../runtime-shim/pod-metrics/descriptors.ts';
import { networkSamples } from '../../../../runtime-shim/pod-metrics/network-samples.ts';
import { parseNetDev } from '../../../../runtime-shim/network/counters.ts';

const pressure = {
  some: { totalUs: 2_900_000, avg10: 0, avg60: 0, avg300: 0 },
  full: { totalUs: 1_000_000, avg10: 0, avg60: 0, avg300: 0 },
};

const observation: ContainerObservation = {
  nowMs: 5_999,
  startedAtMs: 4_001,
  measures: {
    cpu: { usageNs: 1.9e9, userNs: 1e9, systemNs: 9e8, periods: 3, throttledPeriods: 2, throttledNs: 1e9 },
    memory: {
      ...{ usageBytes: 1, maxUsageBytes: 2, workingSetBytes: 3, rssBytes: 4, cacheBytes: 5, mappedFileBytes: 6 },
      ...{ kernelBytes: 7, swapBytes: 8, limitHits: 9, oomKills: 10, pageFaults: [11, 12], majorPageFaults: [13, 14] },
    },
    threads: 15,
    hugepages: [{ pageSize: '2MB', usageBytes: 16, maxUsageBytes: 17 }],
    io: [{ major: 254, minor: 1, readBytes: 18, writtenBytes: 19, reads: 20, writes: 21 }],
    pressure: { cpu: pressure, memory: pressure, io: pressure },
    limits: {
      ...{ cpuPeriodUs: 100_000, cpuQuotaUs: 20_000, cpuShares: 512 },
      ...{ memoryBytes: 22, memoryReservationBytes: undefined, memorySwapBytes: 23, threads: undefined },
    },
  },
  processes: { count: 2, descriptors: 30, sockets: 4 },
  openFilesLimit: 1024,
  filesystem: { device: '/dev/vda1', limitBytes: 100, inodes: 50, inodesFree: 40, usedBytes: 60 },
  deviceName: (major, minor) => `/dev/d${major}-${minor}`,
};
const links = parseNetDev(
  [
    'Inter-|   Receive                                                |  Transmit',
    ' face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed',
    '    lo: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0',
    '  eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0',
    '',
  ].join('\n'),
);

test('every metric that is described has a sample, with as many labels as its description', () => {
  const samples = [...containerSamples(observation), ...networkSamples(links)];
  assert.deepEqual([...new Set(samples.map(({ name }) => name))].toSorted(), Object.keys(METRIC_KINDS).toSorted());
  for (const { name, labels } of samples) assert.equal(labels.length, METRIC_KINDS[name].labels.length, name);
  assert.equal(Object.keys(METRIC_KINDS).length, 56);
  for (const { help } of Object.values(METRIC_KINDS)) assert.match(help, /\.$/);
});

test('containerSamples() cuts seconds, calls no limit 0 and leaves out what is not known', () => {
  const find = (name: string, from = observation) =>
    containerSamples(from).flatMap((sample) => (sample.name === name ? [sample.value] : []));
  assert.deepEqual(find('container_cpu_usage_seconds_total'), [1]);
  assert.deepEqual(find('container_pressure_cpu_waiting_seconds_total'), [2]);
  assert.deepEqual(find('container_last_seen'), [5]);
  assert.deepEqual(find('container_threads_max'), [0]);
  assert.deepEqual(find('container_memory_failures_total'), [11, 12, 13, 14]);
  assert.deepEqual(find('container_ulimits_soft', { ...observation, openFilesLimit: undefined }), []);
});

test('networkSamples() tells what each link carried', () => {
  assert.deepEqual(
    networkSamples(links).map(({ value, labels }) => [labels[0], value]),
    [1, 2, 3, 4, 5, 6, 7, 8].map((value) => ['eth0', value]),
  );
});
