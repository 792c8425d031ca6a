import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import type { Metric } from '../../../cri/stats-messages.ts';
import { collect, criSuite } from '../../support/cri-suite.ts';

const suite = criSuite();

/** What the public validation suite wants described, and (but for the optional ones) measured. */
const EXPECTED = [
  ...['cpu_usage_seconds_total', 'cpu_user_seconds_total', 'cpu_system_seconds_total', 'cpu_cfs_periods_total'],
  ...['cpu_cfs_throttled_periods_total', 'cpu_cfs_throttled_seconds_total', 'memory_usage_bytes', 'memory_rss'],
  ...['memory_working_set_bytes', 'memory_cache', 'memory_swap', 'memory_mapped_file', 'memory_kernel_usage'],
  ...['memory_failcnt', 'memory_failures_total', 'memory_max_usage_bytes', 'network_receive_bytes_total'],
  ...['network_receive_packets_total', 'network_receive_errors_total', 'network_receive_packets_dropped_total'],
  ...['network_transmit_bytes_total', 'network_transmit_packets_total', 'network_transmit_errors_total'],
  ...['network_transmit_packets_dropped_total', 'fs_usage_bytes', 'fs_limit_bytes', 'fs_inodes_free'],
  ...['fs_inodes_total', 'processes', 'threads', 'threads_max', 'sockets', 'file_descriptors', 'spec_cpu_period'],
  ...['spec_cpu_shares', 'spec_memory_limit_bytes', 'spec_memory_swap_limit_bytes', 'start_time_seconds'],
  ...['last_seen', 'oom_events_total'],
].map((name) => `container_${name}`);
const OPTIONAL = [
  ...['blkio_device_usage_total', 'fs_reads_bytes_total', 'fs_reads_total', 'fs_writes_bytes_total'],
  ...['fs_writes_total', 'hugetlb_max_usage_bytes', 'hugetlb_usage_bytes', 'spec_cpu_quota', 'ulimits_soft'],
  ...['spec_memory_reservation_limit_bytes', 'pressure_cpu_stalled_seconds_total'],
  ...['pressure_cpu_waiting_seconds_total', 'pressure_io_stalled_seconds_total', 'pressure_io_waiting_seconds_total'],
  ...['pressure_memory_stalled_seconds_total', 'pressure_memory_waiting_seconds_total'],
].map((name) => `container_${name}`);

suite.test('every metric is described with help and labels, always the same', async () => {
  const { runtime } = suite.shim.cri;
  const { descriptors } = await runtime.listMetricDescriptors({});
  assert.deepEqual(descriptors.map(({ name }) => name).toSorted(), [...EXPECTED, ...OPTIONAL].toSorted());
  assert.ok(descriptors.every(({ help, labelKeys }) => help !== '' && labelKeys.length > 0));
  assert.deepEqual((await runtime.listMetricDescriptors({})).descriptors, descriptors);
});

suite.test('a pod has every metric that is not optional, with the labels of its description', async () => {
  const { runtime } = suite.shim.cri;
  const podSandboxId = await suite.shim.runSandbox('metrics', { annotations: {} });
  const containerId = await suite.shim.create(podSandboxId, {
    command: ['sh', '-c', 'exec 5<>/dev/null; for i in 1 2 3; do sleep 1000 & done; wait'],
    linux: {
      resources: { cpuPeriod: 100_000, cpuQuota: 20_000, cpuShares: 1024, memoryLimitInBytes: 64 * 2 ** 20 },
    },
  });
  await runtime.startContainer({ containerId });
  await suite.shim.exec(containerId, 'sh', '-c', 'dd if=/dev/zero of=/file bs=1M count=2; sync');
  const { descriptors } = await runtime.listMetricDescriptors({});
  const { podMetrics } = await runtime.listPodSandboxMetrics({});
  const pod = podMetrics.find((metrics) => metrics.podSandboxId === podSandboxId);
  const ofContainer = pod?.containerMetrics.find((metrics) => metrics.containerId === containerId)?.metrics ?? [];
  const samples = [...(pod?.metrics ?? []), ...ofContainer];
  const names = new Set(samples.map(({ name }) => name));
  assert.deepEqual(
    EXPECTED.filter((name) => !names.has(name)),
    [],
  );
  const keysOf = new Map(descriptors.map(({ name, labelKeys }) => [name, labelKeys]));
  const labelsOf = ({ name, labelValues }: Metric): Record<string, string> =>
    Object.fromEntries((keysOf.get(name) ?? []).map((key, index) => [key, labelValues[index] ?? 'missing']));
  for (const sample of samples) {
    assert.equal(sample.labelValues.length, keysOf.get(sample.name)?.length, sample.name);
    assert.deepEqual([labelsOf(sample)['pod'], labelsOf(sample)['namespace']], ['metrics', 'test']);
    assert.ok(sample.timestamp > 0);
  }
  const value = (name: string): number | undefined =>
    samples.find((sample) => sample.name === `container_${name}`)?.value?.value;
  assert.deepEqual(
    [value('spec_memory_limit_bytes'), value('spec_cpu_quota'), value('spec_cpu_period'), value('spec_cpu_shares')],
    [64 * 2 ** 20, 20_000, 100_000, existsSync('/sys/fs/cgroup/cpu') ? 1024 : value('spec_cpu_shares')],
  );
  assert.deepEqual([value('processes'), value('threads')], [4, 4]);
  assert.ok((value('fs_usage_bytes') ?? 0) >= 2 * 2 ** 20 && (value('file_descriptors') ?? 0) >= 4);
  const links = pod?.metrics.map((sample) => labelsOf(sample)['interface']);
  assert.deepEqual([...new Set(links)], ['eth0']);
  const streamed = await collect(runtime.streamPodSandboxMetrics({}));
  const ids = streamed.flatMap((message) => message.podSandboxMetrics.map((metrics) => metrics.podSandboxId));
  assert.deepEqual(
    ids,
    podMetrics.map((metrics) => metrics.podSandboxId),
  );
});

suite.test('statistics cover one container, all, those with a label, and only what runs', async () => {
  const { runtime } = suite.shim.cri;
  const ids: string[] = [];
  for (const tier of ['a', 'b', 'c']) ids.push(await suite.runSleeper({ labels: { set: 'stats', tier } }));
  const sandbox = await suite.shim.runSandbox('not-started');
  const created = await suite.shim.create(sandbox, { labels: { set: 'stats' }, command: ['true'] });
  const list = async (filter?: object): Promise<string[]> => {
    const { stats } = await runtime.listContainerStats(filter ? { filter } : {});
    const streamed = await collect(runtime.streamContainerStats(filter ? { filter } : {}));
    const listed = stats.map(({ attributes }) => attributes?.id ?? '');
    assert.deepEqual(
      streamed.flatMap(({ containerStats }) => containerStats.map((one) => one.attributes?.id)),
      listed,
    );
    return listed;
  };
  assert.deepEqual(await list({ labelSelector: { set: 'stats' } }), ids);
  assert.deepEqual(await list({ labelSelector: { set: 'stats', tier: 'b' } }), [ids[1]]);
  assert.deepEqual(await list({ id: ids[2] }), [ids[2]]);
  const all = await list();
  assert.ok(ids.every((id) => all.includes(id)) && !all.includes(created));
  const { stats } = await runtime.containerStats({ containerId: ids[0] ?? '' });
  assert.ok((stats?.cpu?.usageCoreNanoSeconds?.value ?? 0) > 0 && (stats?.memory?.workingSetBytes?.value ?? 0) > 0);
  // Nothing was written, so that there may be no file at all.
  assert.ok((stats?.writableLayer?.inodesUsed?.value ?? -1) >= 0 && stats?.writableLayer?.fsId?.mountpoint !== '');
  assert.deepEqual(stats?.swap?.swapUsageBytes, { value: 0 });
});

suite.test('statistics of a sandbox are the sum of its containers, and its traffic', async () => {
  const { runtime } = suite.shim.cri;
  const podSandboxId = await suite.shim.runSandbox('pod-stats', { annotations: {}, labels: { set: 'pod-stats' } });
  const { stats: empty } = await runtime.podSandboxStats({ podSandboxId });
  assert.deepEqual(
    empty?.linux?.network?.interfaces.map(({ name }) => name),
    ['eth0'],
  );
  for (const name of ['one', 'two']) {
    const metadata = { name, attempt: 0 };
    const config = { metadata, logPath: `${name}.log`, command: ['sleep', '1000'] };
    await runtime.startContainer({ containerId: await suite.shim.create(podSandboxId, config) });
  }
  const filter = { labelSelector: { set: 'pod-stats' } };
  const { stats } = await runtime.listPodSandboxStats({ filter });
  assert.equal(stats.length, 1);
  const { linux } = stats[0] ?? {};
  assert.deepEqual([linux?.containers.length, linux?.process?.processCount?.value], [2, 2]);
  const sum = linux?.containers.reduce((total, { memory }) => total + (memory?.usageBytes?.value ?? 0), 0);
  assert.equal(linux?.memory?.usageBytes?.value, sum);
  const streamed = await collect(runtime.streamPodSandboxStats({ filter }));
  assert.deepEqual(
    streamed.map((message) => message.podSandboxStats.map((one) => one.attributes?.id)),
    [[podSandboxId]],
  );
  await runtime.stopPodSandbox({ podSandboxId });
  assert.deepEqual((await runtime.listPodSandboxStats({ filter })).stats, []);
});
