import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeInstance } from '../../../../lib/instance.ts';
import type { ServiceBackend, ServicePort } from '../../../../runtime-shim/network/node-network.ts';
import { diffServices, planServices, serviceChain } from '../../../../runtime-shim/network/service-plan.ts';
import { renderServiceChains, renderTables, serviceRules } from '../../../../runtime-shim/network/table.ts';

const instance = describeInstance('/var/lib/windlass', '/run/windlass');
const backend = (last: number, overrides: Partial<ServiceBackend> = {}): ServiceBackend => ({
  ...{ id: `10.1.0.${last}:8080`, ip: `10.1.0.${last}`, port: 8080, isRemote: false },
  ...overrides,
});
const port = (overrides: Partial<ServicePort> = {}): ServicePort => ({
  ...{ protocol: 'TCP', virtualIp: '10.1.0.240', port: 80, publishedPort: 0, sessionAffinity: false },
  clientAddress: 'Preserve',
  backends: [backend(2)],
  ...overrides,
});
const surroundings = { bridgeOf: (ip: string) => (ip.startsWith('10.1.') ? 'br' : undefined), hasIngress: true };
const plan = (...ports: ServicePort[]) => planServices(instance, [{ id: 'default/web', ports }], surroundings);

test('planServices() leads the virtual address and the published port to one chain', () => {
  const { elements, chains, virtualIps } = plan(port({ publishedPort: 9090 }));
  const chain = serviceChain('default/web', port({ publishedPort: 9090 }));
  assert.deepEqual(
    elements.map(({ set, words }) => `${set}: ${words}`),
    [
      `vipports: 10.1.0.240 . tcp . 80 : goto ${chain}`,
      `serviceports: tcp . 9090 : goto ${chain}`,
      `ingressports: tcp . 9090 : goto ${chain}`,
      'vips: 10.1.0.240',
      'vipbridges: "br" . 10.1.0.240',
    ],
  );
  assert.deepEqual([...chains.keys()], [chain]);
  assert.deepEqual([...virtualIps], [['10.1.0.240', 'br']]);
});

test('planServices() makes nothing for a virtual address of a network that is not on this node', () => {
  assert.deepEqual(plan(port({ virtualIp: '10.9.0.1' })).chains.size, 0);
});

test('diffServices() touches one chain when backends change', () => {
  const [before, after] = [plan(port()), plan(port({ backends: [backend(3)] }))];
  const change = diffServices(before, after);
  assert.deepEqual([change.add, change.remove, change.removeChains], [[], [], []]);
  assert.equal(change.setChains.size, 1);
  assert.equal(diffServices(after, after).setChains.size, 0);
});

test('diffServices() removes elements and chains of a service that went', () => {
  const change = diffServices(plan(port()), planServices(instance, [], surroundings));
  assert.deepEqual(
    change.remove.map(({ set }) => set),
    ['vipports', 'vips', 'vipbridges'],
  );
  assert.equal(change.removeChains.length, 1);
});

test('serviceRules() spreads at random, by source with affinity, and has no rule without backends', () => {
  assert.deepEqual(serviceRules(port()), [
    'ip protocol tcp dnat ip to numgen random mod 1 map { 0 : 10.1.0.2 . 8080 }',
  ]);
  assert.match(
    serviceRules(port({ sessionAffinity: true }))[0] ?? '',
    /jhash ip saddr mod 1024 seed 0x\w+ map \{ 0-1023 : 10.1.0.2 . 8080 \}/,
  );
  assert.deepEqual(serviceRules(port({ backends: [] })), []);
});

test('renderServiceChains() and renderTables() name only tables of the instance', () => {
  const { elements, chains } = plan(port());
  const script = renderTables(instance, { elements, serviceChains: chains });
  const tables = [...script.matchAll(/table (?:inet|bridge) (\S+)/g)].map(([, name]) => name);
  assert.deepEqual([...new Set(tables)], [`windlass-${instance.id}`]);
  assert.match(
    renderServiceChains(instance, { set: chains, remove: ['svc-old'] }),
    /^add chain inet windlass-\w+ svc-\w+\nflush chain .*\nadd rule .* dnat .*\ndelete chain inet windlass-\w+ svc-old\n$/,
  );
});
