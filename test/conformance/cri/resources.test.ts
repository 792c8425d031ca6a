import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { Draft, LinuxContainerResources } from '../../../cri/messages.ts';
import { kernelNames } from '../../../lib/instance.ts';
import { hostHugepageSizes } from '../../../runtime-shim/cgroups/hugepages.ts';
import { criSuite } from '../../support/cri-suite.ts';

const suite = criSuite();
const MiB = 2 ** 20;
const isV1 = existsSync('/sys/fs/cgroup/memory');

/** Limits in force, as the kernel has them. */
function limitsOf(containerId: string): Record<'memory' | 'swap' | 'cpu' | 'cpuset' | 'pids', string> {
  const read = (controller: string, file: string): string =>
    readFileSync(
      join('/sys/fs/cgroup', isV1 ? controller : '', kernelNames.cgroupParent(suite.shim.instance), containerId, file),
      'utf8',
    ).trim();
  return isV1
    ? {
        memory: read('memory', 'memory.limit_in_bytes'),
        swap: read('memory', 'memory.memsw.limit_in_bytes'),
        cpu: `${read('cpu', 'cpu.cfs_quota_us')} ${read('cpu', 'cpu.cfs_period_us')}`,
        cpuset: read('cpuset', 'cpuset.cpus'),
        pids: read('pids', 'pids.max'),
      }
    : {
        memory: read('', 'memory.max'),
        swap: read('', 'memory.swap.max'),
        cpu: read('', 'cpu.max'),
        cpuset: read('', 'cpuset.cpus'),
        pids: read('', 'pids.max'),
      };
}

suite.test('limits change while the container runs, up and down, and are shown', async () => {
  const { runtime } = suite.shim.cri;
  const containerId = await suite.runSleeper({ linux: { resources: { memoryLimitInBytes: 64 * MiB } } });
  const update = (linux: Draft<LinuxContainerResources>) => runtime.updateContainerResources({ containerId, linux });
  for (const memory of [32 * MiB, 128 * MiB]) {
    await update({ memoryLimitInBytes: memory, cpuQuota: 20_000, cpuPeriod: 50_000, cpusetCpus: '0' });
    const { memory: limit, cpu, cpuset } = limitsOf(containerId);
    assert.deepEqual([limit, cpu, cpuset], [String(memory), '20000 50000', '0']);
  }
  await update({ memorySwapLimitInBytes: 256 * MiB, unified: { 'pids.max': '33' } });
  const { swap, pids } = limitsOf(containerId);
  assert.deepEqual([swap, pids], [String(isV1 ? 256 * MiB : 128 * MiB), '33']);
  const shown = (await suite.shim.status(containerId)).resources?.linux;
  assert.deepEqual(
    [shown?.memoryLimitInBytes, shown?.memorySwapLimitInBytes, shown?.cpuQuota, shown?.cpusetCpus],
    [128 * MiB, 256 * MiB, 20_000, '0'],
  );
});

suite.test('a change of which one part is impossible changes nothing, and names the part', async () => {
  const { runtime } = suite.shim.cri;
  const containerId = await suite.runSleeper({
    command: ['sh', '-c', 'head -c 30m /dev/zero | tail -c 30m > /dev/shm/used; echo ready; sleep 1000'],
    linux: { resources: { memoryLimitInBytes: 64 * MiB, cpuQuota: 50_000, cpuPeriod: 100_000, cpusetCpus: '0' } },
  });
  await suite.untilLogged(containerId, 'ready');
  const before = limitsOf(containerId);
  const cases: readonly (readonly [Draft<LinuxContainerResources>, RegExp])[] = [
    [{ memoryLimitInBytes: 8 * MiB }, /memory/],
    [
      { memoryLimitInBytes: 96 * MiB, cpuQuota: 10_000, cpuPeriod: 10_000, cpusetCpus: String(cpus().length) },
      /cpuset/,
    ],
    [{ memoryLimitInBytes: 96 * MiB, cpusetMems: '63' }, /cpuset/],
    [{ memoryLimitInBytes: 96 * MiB, cpuPeriod: 1 }, /cpu/],
    [{ memoryLimitInBytes: 96 * MiB, memorySwapLimitInBytes: 32 * MiB }, /memory_swap_limit_in_bytes/],
    [{ memoryLimitInBytes: 96 * MiB, unified: { 'no.such_file': '1' } }, /no\.such_file/],
    [{ memoryLimitInBytes: 96 * MiB, hugepageLimits: [{ pageSize: '3MB', limit: 1 }] }, /3MB/],
  ];
  for (const [linux, message] of cases) {
    await assert.rejects(runtime.updateContainerResources({ containerId, linux }), (error: Error) => {
      assert.match(error.message, message);
      return true;
    });
    assert.deepEqual(limitsOf(containerId), before, JSON.stringify(linux));
  }
  assert.equal((await suite.shim.status(containerId)).resources?.linux?.memoryLimitInBytes, 64 * MiB);
  assert.equal((await suite.shim.status(containerId)).state, 'CONTAINER_RUNNING');
});

suite.test('what an update cannot do is refused by name; a container that ended takes none', async () => {
  const { runtime } = suite.shim.cri;
  const containerId = await suite.runSleeper();
  const update = (request: object) => runtime.updateContainerResources({ containerId, linux: {}, ...request });
  for (const [request, message] of [
    [{ windows: {} }, /windows/],
    [{ annotations: { 'x.example/y': '1' } }, /x\.example/],
    [{ linux: { oomScoreAdj: 5 } }, /oom_score_adj/],
  ] as const) {
    await assert.rejects(update(request), { reason: 'Unimplemented', message });
  }
  await runtime.stopContainer({ containerId, timeout: 0 });
  await assert.rejects(update({ linux: { cpuShares: 512 } }), { reason: 'Conflict' });
});

suite.test('huge page limits: 0 is what a kubelet says on every host, more needs a controller', async () => {
  const [pageSize = '2MB'] = hostHugepageSizes();
  const { info } = await suite.shim.cri.runtime.status({ verbose: true });
  const { hugepageSizes } = JSON.parse(info['config'] ?? '') as { hugepageSizes: string[] };
  await suite.runSleeper({ linux: { resources: { hugepageLimits: [{ pageSize, limit: 0 }] } } });
  const more = suite.runSleeper({ linux: { resources: { hugepageLimits: [{ pageSize, limit: 4 * MiB }] } } });
  if (hugepageSizes.includes(pageSize)) await more;
  else await assert.rejects(more, { reason: 'Invalid', message: /hugepage_limits/ });
});
