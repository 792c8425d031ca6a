import assert from 'node:assert/strict';
import { test } from 'node:test';
import { entrances, formatRule, ownLimits } from '../../../../runtime-shim/cgroups/own-groups.ts';

test('ownLimits() takes what can be written by the shim', () => {
  const devices = [{ allow: false, access: 'rwm' }];
  const limits = ownLimits({
    ...{ devices, memory: { limit: 10, swap: 20 }, pids: { limit: 3 } },
    cpu: { shares: 1, quota: 2, period: 3, cpus: '0', mems: '0' },
  });
  assert.deepEqual(limits, {
    devices,
    resources: {
      ...{ memoryBytes: 10, memorySwapBytes: 20, pids: 3 },
      ...{ cpuShares: 1, cpuQuotaUs: 2, cpuPeriodUs: 3, cpusetCpus: '0', cpusetMems: '0' },
    },
  });
});

test('ownLimits() leaves to the runtime what only that knows to set', () => {
  for (const resources of [
    { hugepageLimits: [{ pageSize: '2MB', limit: 0 }] },
    { unified: { 'memory.high': '1' } },
    { memory: { limit: 1, kernel: 2 } },
    { cpu: { realtimeRuntime: 1 } },
    { blockIO: {} },
  ])
    assert.equal(ownLimits(resources), undefined, JSON.stringify(resources));
});

test('formatRule() writes the words of the devices controller', () => {
  assert.equal(formatRule({ allow: false, access: 'rwm' }), 'a');
  assert.equal(formatRule({ allow: true, type: 'c', major: 1, minor: 3, access: 'rw' }), 'c 1:3 rw');
  assert.equal(formatRule({ allow: true, type: 'b', access: 'm' }), 'b *:* m');
});

test('entrances() names each hierarchy once, also where two controllers share one', () => {
  const v1 = new Map([
    ['cpu', '/cg/cpu,cpuacct'],
    ['cpuacct', '/cg/cpu,cpuacct'],
    ['memory', '/cg/memory'],
  ]);
  assert.deepEqual(entrances({ v1, v2: '/cg/unified' }, '/a/b'), ['/cg/cpu,cpuacct/a/b/tasks', '/cg/memory/a/b/tasks']);
});
