import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  chooseBase,
  keepSamples,
  parseNodeReading,
  reportUsage,
  type ContainerReading,
  type Sample,
} from '../../../../../controllers/node-agent/usage/usage-plan.ts';
import { createUsageSampler } from '../../../../../controllers/node-agent/usage/usage-sampler.ts';

const reading = (atMs: number, cpuMs: number, more: Partial<ContainerReading> = {}): ContainerReading => ({
  ...{ namespace: 'default', name: 'web', uid: 'u1', startedAtMs: 0, atMs, cpuMs, memoryBytes: 100 },
  ...more,
});
const sample = (atMs: number, containers: Record<string, ContainerReading> = {}, cpuMs = 0): Sample => ({
  atMs,
  node: { atMs, cpuMs, memoryBytes: 1000 },
  containers: new Map(Object.entries(containers)),
});

test('reportUsage() is the growth of the counters over the time between', () => {
  const report = reportUsage(
    sample(10_000, { a: reading(10_000, 500) }, 1000),
    sample(20_000, { a: reading(20_000, 3000) }, 16_000),
  );
  assert.deepEqual(report, {
    node: { cpuCores: 1.5, memoryBytes: 1000, atMs: 20_000, windowMs: 10_000 },
    containers: [
      {
        namespace: 'default',
        name: 'web',
        uid: 'u1',
        cpuCores: 0.25,
        memoryBytes: 100,
        atMs: 20_000,
        windowMs: 10_000,
      },
    ],
  });
});

test('reportUsage() measures a container that is new from its start, and none that is gone', () => {
  const before = sample(10_000, { gone: reading(10_000, 500) });
  const after = sample(20_000, { fresh: reading(20_000, 2000, { startedAtMs: 16_000 }) });
  assert.deepEqual(
    reportUsage(before, after).containers.map(({ cpuCores, windowMs }) => [cpuCores, windowMs]),
    [[0.5, 4000]],
  );
});

test('chooseBase() takes the newest sample that is 10 s old, else the oldest', () => {
  const samples = [sample(0), sample(50_000), sample(65_000), sample(95_000)];
  assert.equal(chooseBase(samples, 100_000)?.atMs, 65_000);
  assert.equal(chooseBase(samples.slice(3), 100_000)?.atMs, 95_000);
  assert.equal(chooseBase(samples.slice(3), 95_100), undefined);
  assert.equal(chooseBase(samples.slice(0, 1), 100_000), undefined);
  assert.deepEqual(
    keepSamples(samples, 100_000).map(({ atMs }) => atMs),
    [65_000, 95_000],
  );
});

test('parseNodeReading() leaves out what is idle, and counts what a guest got once', () => {
  const stat = 'cpu  100 20 30 4000 500 6 7 8 90 0\ncpu0 1 2 3\n';
  const meminfo = 'MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    600 kB\n';
  assert.deepEqual(parseNodeReading(stat, meminfo, 5), { atMs: 5, cpuMs: 1710, memoryBytes: 400 * 1024 });
});

test('createUsageSampler() shares one measurement among those who ask at once, and gives it again for a second', async () => {
  let now = 1_000_000;
  let asked = 0;
  const sampler = createUsageSampler({
    runtime: {
      containerUsage: async () => {
        asked += 1;
        return [];
      },
    },
    cache: { container: () => undefined, sandboxOf: () => undefined },
    clock: { now: () => now, sleep: async (ms) => void (now += ms) },
  });
  const { signal } = new AbortController();
  const [first, second] = await Promise.all([sampler(signal), sampler(signal)]);
  assert.equal(first, second);
  // Nothing to compare with at first: two looks, a second apart.
  assert.deepEqual([asked, first?.node.windowMs], [2, 1000]);
  now += 500;
  await sampler(signal);
  assert.equal(asked, 2);
  now += 15_000;
  assert.equal((await sampler(signal)).node.windowMs, 15_500);
  assert.equal(asked, 3);
});
