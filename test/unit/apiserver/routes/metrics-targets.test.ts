import assert from 'node:assert/strict';
import test from 'node:test';
import { metricsTargets } from '../../../../apiserver/routes/metrics-targets.ts';

const makeLease = (name: string, address: string, host?: string): { object: object } => ({
  object: {
    metadata: {
      name,
      labels: { 'windlass.dev/component': 'node-agent' },
      annotations: { 'windlass.dev/metrics-address': address, ...(host ? { 'windlass.dev/metrics-host': host } : {}) },
    },
    spec: { renewTime: new Date(0).toISOString() },
  },
});

test('metricsTargets() lists what can be reached from the machine that is asked', async () => {
  const entries = [
    makeLease('own', '127.0.0.1:1', 'here'),
    makeLease('loopback-elsewhere', '127.0.0.1:2', 'there'),
    makeLease('six-elsewhere', '[::1]:3', 'there'),
    makeLease('elsewhere', '10.0.0.2:4', 'there'),
    makeLease('before', '127.0.0.1:5'),
  ];
  const targets = await metricsTargets({
    store: { list: async () => ({ entries, revision: 1 }) } as never,
    clock: { now: () => 0 } as never,
    ...{ ownAddress: () => '10.0.0.1:6443', etcdMetrics: undefined, host: 'here' },
  });
  assert.deepEqual(
    targets.map(({ targets: [address] }) => address),
    ['10.0.0.1:6443', '127.0.0.1:1', '10.0.0.2:4', '127.0.0.1:5'],
  );
});

test('metricsTargets() leaves out what has not renewed its Lease for as long as that says', async () => {
  const lease = makeLease('gone', '10.0.0.2:1');
  const entries = [
    { object: { ...lease.object, spec: { renewTime: new Date(0).toISOString(), leaseDurationSeconds: 120 } } },
  ];
  const countAt = async (now: number): Promise<number> =>
    (
      await metricsTargets({
        store: { list: async () => ({ entries, revision: 1 }) } as never,
        clock: { now: () => now } as never,
        ...{ ownAddress: () => '10.0.0.1:6443', etcdMetrics: undefined, host: 'here' },
      })
    ).length;
  assert.equal(await countAt(120_000), 2);
  assert.equal(await countAt(120_001), 1);
});
