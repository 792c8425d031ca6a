import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CgroupMeasures, Pressure } from '../../../../runtime-shim/cgroups/measures.ts';
import { createCpuRates } from '../../../../runtime-shim/rpc/cpu-rates.ts';
import type { Shim } from '../../../../runtime-shim/rpc/deps.ts';
import { measureSandbox } from '../../../../runtime-shim/rpc/stats.ts';
import type { ContainerRecord, SandboxRecord } from '../../../../runtime-shim/store/records.ts';

const line = { totalUs: 7, avg10: 1.5, avg60: 0, avg300: 0 };
const pressure: Pressure = { some: line, full: { ...line, totalUs: 3 } };

function makeMeasures(usageNs: number, hasPressure: boolean): CgroupMeasures {
  return {
    cpu: { usageNs, userNs: 0, systemNs: 0, periods: 0, throttledPeriods: 0, throttledNs: 0 },
    memory: {
      ...{ usageBytes: 10, maxUsageBytes: 0, workingSetBytes: 8, rssBytes: 4, cacheBytes: 0, mappedFileBytes: 0 },
      ...{ kernelBytes: 0, swapBytes: 0, limitHits: 0, oomKills: 0, pageFaults: [1, 2], majorPageFaults: [0, 0] },
    },
    threads: 1,
    hugepages: [],
    io: [],
    pressure: hasPressure ? { cpu: pressure, memory: pressure, io: pressure } : undefined,
    limits: {
      ...{ cpuPeriodUs: 0, cpuQuotaUs: undefined, cpuShares: 0, memoryBytes: undefined },
      ...{ memoryReservationBytes: undefined, memorySwapBytes: undefined, threads: undefined },
    },
  };
}

/** Sandboxes by id and control group parent; sandbox `s1` has two containers. */
function makeShim(parents: Readonly<Record<string, string>>): Shim {
  const sandboxes = Object.entries(parents).map(([id, cgroupParent]) => ({
    ...{ id, phase: 'ready', namespaces: {} },
    config: { metadata: null, labels: {}, annotations: {}, linux: { cgroupParent } },
  }));
  const containers = ['a', 'b'].map((id) => ({
    ...{ id, sandboxId: 's1', phase: 'running', cgroupsPath: `/${id}` },
    config: { metadata: null, labels: {}, annotations: {} },
  }));
  const groups: Readonly<Record<string, CgroupMeasures>> = {
    '/a': makeMeasures(5, false),
    '/b': makeMeasures(6, false),
    '/pod': makeMeasures(20, true),
  };
  return {
    clock: { now: () => 1_000 },
    instance: { home: '/home' },
    store: { sandboxes: { list: () => sandboxes }, containers: { list: () => containers } },
    cgroups: { measures: (path: string) => groups[path], pids: () => [1, 2] },
    images: { rootFilesystem: () => undefined },
  } as unknown as Shim;
}
const measure = (shim: Shim) =>
  measureSandbox(shim, createCpuRates(), shim.store.sandboxes.list()[0] as SandboxRecord & ContainerRecord);

test('measureSandbox() sums up its running containers', async () => {
  const { linux } = await measure(makeShim({ s1: '' }));
  assert.deepEqual(linux?.cpu?.usageCoreNanoSeconds, { value: 11 });
  assert.deepEqual([linux?.memory?.usageBytes, linux?.memory?.pageFaults], [{ value: 20 }, { value: 4 }]);
  assert.deepEqual(linux?.process?.processCount, { value: 4 });
  assert.equal(linux?.cpu?.usageNanoCores, null, 'unknown for each');
  assert.deepEqual([linux?.cpu?.psi, linux?.io], [null, null]);
});

test('measureSandbox() tells the pressure of a control group that is its own', async () => {
  const { linux } = await measure(makeShim({ s1: '/pod', s2: '/other' }));
  assert.deepEqual(linux?.memory?.psi, {
    Some: { Total: 7_000, Avg10: 1.5, Avg60: 0, Avg300: 0 },
    Full: { Total: 3_000, Avg10: 1.5, Avg60: 0, Avg300: 0 },
  });
  assert.equal((await measure(makeShim({ s1: '/pod', s2: '/pod' }))).linux?.cpu?.psi, null, 'shared with another');
});
