import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LinuxContainerResources } from '../../../../cri/messages.ts';
import { createCpuRates } from '../../../../runtime-shim/rpc/cpu-rates.ts';
import { mergeResources } from '../../../../runtime-shim/rpc/update-resources.ts';

const nothing: LinuxContainerResources = {
  ...{ cpuPeriod: 0, cpuQuota: 0, cpuShares: 0, memoryLimitInBytes: 0, oomScoreAdj: 0, cpusetCpus: '', cpusetMems: '' },
  ...{ hugepageLimits: [], unified: {}, memorySwapLimitInBytes: 0 },
};

test('mergeResources() keeps what a change does not name', () => {
  const before = {
    ...nothing,
    cpuQuota: 5,
    cpusetCpus: '0',
    hugepageLimits: [
      { pageSize: '2MB', limit: 1 },
      { pageSize: '1GB', limit: 2 },
    ],
    unified: { 'memory.high': '1' },
  };
  const change = {
    ...nothing,
    memoryLimitInBytes: 7,
    hugepageLimits: [{ pageSize: '2MB', limit: 0 }],
    unified: { 'pids.max': '3' },
  };
  assert.deepEqual(mergeResources(before, change), {
    ...before,
    memoryLimitInBytes: 7,
    hugepageLimits: [
      { pageSize: '2MB', limit: 0 },
      { pageSize: '1GB', limit: 2 },
    ],
    unified: { 'memory.high': '1', 'pids.max': '3' },
  });
  assert.deepEqual(mergeResources(null, change), change);
});

test('createCpuRates() tells cores between two looks, never from looks too close', () => {
  const rates = createCpuRates();
  assert.equal(rates.update('a', 1e9, 0), undefined);
  assert.equal(rates.update('a', 2e9, 2_000), 5e8);
  assert.equal(rates.update('a', 9e9, 2_050), 5e8);
  assert.equal(rates.update('a', 1e9, 4_000), 0);
});
