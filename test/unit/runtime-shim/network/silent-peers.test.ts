import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeInstance } from '../../../../lib/instance.ts';
import type { ServiceBackend, ServicePort } from '../../../../runtime-shim/network/node-network.ts';
import { planServices, serviceChain } from '../../../../runtime-shim/network/service-plan.ts';
import { emptyState, silentAddresses } from '../../../../runtime-shim/network/state.ts';

const instance = describeInstance('/var/lib/windlass', '/run/windlass');
const local: ServiceBackend = { id: '10.1.0.2:80', ip: '10.1.0.2', port: 80, isRemote: false };
const remote = (node: number): ServiceBackend => ({
  ...{ id: `10.1.${node}.2:80`, ip: `10.255.0.${node}`, port: 9090, isRemote: true },
});
const chainsOf = (backends: readonly ServiceBackend[], silent: readonly string[]): [string, string | undefined] => {
  const port: ServicePort = {
    ...{ protocol: 'TCP', virtualIp: '', port: 0, publishedPort: 9090, sessionAffinity: false },
    ...{ clientAddress: 'Preserve', backends },
  };
  const { chains } = planServices(instance, [{ id: 'default/web', ports: [port] }], {
    ...{
      bridgeOf: () => undefined,
      hasIngress: true,
      isSilent: (ip: string) => silent.includes(ip),
      relayOf: () => undefined,
    },
  });
  const chain = serviceChain('default/web', port);
  const [own, arriving] = [chain, `${chain}-l`].map((name) => chains.get(name)?.[0]?.replace(/.* map /, ''));
  return [own ?? '', arriving];
};
const rulesOf = (backends: readonly ServiceBackend[], silent: readonly string[]): string =>
  chainsOf(backends, silent)[0];

test('planServices() sends nobody to a silent node, unless nobody else is left', () => {
  const all = [local, remote(2), remote(3)];
  assert.equal(rulesOf(all, []), '{ 0 : 10.1.0.2 . 80, 1 : 10.255.0.2 . 9090, 2 : 10.255.0.3 . 9090 }');
  assert.equal(rulesOf(all, ['10.255.0.2']), '{ 0 : 10.1.0.2 . 80, 1 : 10.255.0.3 . 9090 }');
  assert.equal(rulesOf(all, ['10.255.0.2', '10.255.0.3']), '{ 0 : 10.1.0.2 . 80 }');
  const elsewhere = [remote(2), remote(3)];
  assert.equal(rulesOf(elsewhere, ['10.255.0.2', '10.255.0.3']), rulesOf(elsewhere, []), 'all silent: all are kept');
});

test('planServices() leads to one that is about to stop only what other nodes still send, if nobody else here takes it', () => {
  const draining = { ...local, isDraining: true };
  const other = { ...local, id: '10.1.0.3:80', ip: '10.1.0.3' };
  assert.deepEqual(chainsOf([draining, remote(2)], []), ['{ 0 : 10.255.0.2 . 9090 }', '{ 0 : 10.1.0.2 . 80 }']);
  assert.deepEqual(chainsOf([draining, other, remote(2)], []), [
    '{ 0 : 10.1.0.3 . 80, 1 : 10.255.0.2 . 9090 }',
    '{ 0 : 10.1.0.3 . 80 }',
  ]);
  assert.deepEqual(chainsOf([draining], []), ['', '{ 0 : 10.1.0.2 . 80 }']);
});

test('silentAddresses() adds what a silent node has on overlays, by its address of either family', () => {
  const state = emptyState();
  state.ingress = {
    ...{ network: 'windlass-system/ingress', ip: '10.255.0.1' },
    peers: [
      { ip: '10.255.0.2', mac: '0a:00:00:00:00:02', hosts: ['192.0.2.2'] },
      { ip: '10.255.0.3', mac: '0a:00:00:00:00:03', hosts: [] },
    ],
  };
  state.peers.set('windlass-system/ingress', {
    hosts: ['fd00:2::3'],
    endpoints: [{ ip: '10.255.0.3', mac: '0a:00:00:00:00:03', host: 'fd00:2::3' }],
  });
  state.peers.set('default/fabric', {
    hosts: ['192.0.2.2', 'fd00:2::3'],
    endpoints: [
      { ip: '10.2.0.2', mac: '02:00:00:00:00:02', host: '192.0.2.2' },
      { ip: '10.2.0.3', mac: '02:00:00:00:00:03', host: 'fd00:2::3' },
    ],
  });
  assert.deepEqual([...silentAddresses(state)], []);
  state.silentPeers = new Set(['10.255.0.2']);
  assert.deepEqual([...silentAddresses(state)], ['10.255.0.2', '10.2.0.2']);
  state.silentPeers = new Set(['10.255.0.3', '10.255.0.9']);
  assert.deepEqual([...silentAddresses(state)], ['10.255.0.3', '10.2.0.3']);
});
