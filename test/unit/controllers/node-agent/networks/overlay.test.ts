import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createNodeNetworks,
  defineNetwork,
  definePeers,
} from '../../../../../controllers/node-agent/networks/node-networks.ts';
import type { NetworkStatus } from '../../../../../crds/network.ts';
import { makeNetwork } from '../../../../support/objects.ts';

const status: NetworkStatus = {
  subnets: [{ cidr: '10.1.0.0/20', gateway: '10.1.0.1' }],
  vni: 5000,
  vxlanPort: 4789,
  nodes: [
    {
      ...{ name: 'n1', ranges: ['10.1.0.0/27'], ipv4Address: '10.1.0.2', macAddress: '0a:00:0a:01:00:02' },
      underlayIP: '192.0.2.1',
    },
    {
      ...{ name: 'n2', ranges: ['10.1.0.32/27'], ipv4Address: '10.1.0.32', macAddress: '0a:00:0a:01:00:20' },
      underlayIP: '192.0.2.2',
    },
    { name: 'n3', ranges: ['10.1.0.64/27'], ipv4Address: '10.1.0.64', macAddress: '0a:00:0a:01:00:40' },
  ],
  endpoints: [
    { container: 'a', ipv4Address: '10.1.0.3', macAddress: '02:00:00:00:00:01', nodeName: 'n1' },
    { container: 'b', ipv4Address: '10.1.0.33', macAddress: '02:00:00:00:00:0B', nodeName: 'n2' },
    { container: 'c', ipv4Address: '10.1.0.65', macAddress: '02:00:00:00:00:0c', nodeName: 'n3' },
    { container: 'd', ipv4Address: '10.1.0.34', nodeName: 'n2' },
  ],
};
const network = makeNetwork('back', { driver: 'overlay', status });

test('defineNetwork() tells the runtime what makes a network an overlay', () => {
  const defined = defineNetwork(network, 'n1');
  assert.deepEqual(defined.state === 'Ready' && defined.definition.overlay, {
    ...{ vni: 5000, port: 4789, underlayIp: '192.0.2.1', nodeIp: '10.1.0.2', nodeMac: '0a:00:0a:01:00:02' },
  });
});

test('defineNetwork() waits by name for what an overlay lacks', () => {
  const message = (one: typeof network, node: string): string => {
    const defined = defineNetwork(one, node);
    return defined.state === 'Waiting' ? defined.message : 'ready';
  };
  assert.match(message(network, 'n3'), /not ready for node n3: the node has no InternalIP/);
  const { vni: _, ...without } = status;
  assert.match(
    message(makeNetwork('back', { driver: 'overlay', status: without }), 'n1'),
    /the network has no VNI yet/,
  );
});

const KEY = Buffer.alloc(32, 1).toString('base64');
const sealedStatus: NetworkStatus = {
  ...status,
  wireguardPort: 51_820,
  nodes: (status.nodes ?? []).map((node) =>
    node.underlayIP === undefined
      ? node
      : { ...node, tunnelIP: `fd11::${node.name.slice(1)}`, encryptionKey: KEY.replace('A', node.name.slice(1)) },
  ),
  conditions: [
    {
      ...{ type: 'Encrypted', status: 'False', reason: 'NodesLackEncryption', lastTransitionTime: '' },
      message: 'no container of this network runs on node n3 (the kernel has no WireGuard)',
    },
  ],
};
const sealed = makeNetwork('back', { driver: 'overlay', encrypted: true, status: sealedStatus });

test('defineNetwork() says how a network is encrypted, and never asks for one in the clear in its place', () => {
  const defined = defineNetwork(sealed, 'n1');
  assert.deepEqual(defined.state === 'Ready' && defined.definition.overlay?.encryption, {
    ip: 'fd11::1',
    port: 51_820,
  });
  const lacking = defineNetwork(sealed, 'n3');
  assert.deepEqual(lacking, {
    ...{ state: 'Waiting', reason: 'EncryptionUnavailable' },
    message:
      'network "back" is encrypted, which node n3 cannot do: no container of this network runs on node n3 (the kernel has no WireGuard)',
  });
  // What a controller of an older version leaves: all that an overlay in the clear needs.
  const old = makeNetwork('back', { driver: 'overlay', encrypted: true, status });
  assert.equal(defineNetwork(old, 'n1').state, 'Waiting');
  const { wireguardPort: _, ...portless } = sealedStatus;
  const early = makeNetwork('back', { driver: 'overlay', encrypted: true, status: portless });
  assert.equal(defineNetwork(early, 'n1').state, 'Waiting');
});

test('definePeers() gives the keys of the other nodes, and none of two that say to be at one address', () => {
  const [, second, ...rest] = sealedStatus.nodes ?? [];
  assert.ok(second);
  const { tunnels } = definePeers(sealed, 'n1');
  assert.deepEqual(tunnels, [{ host: '192.0.2.2', ip: 'fd11::2', publicKey: second.encryptionKey }]);
  assert.equal('tunnels' in definePeers(network, 'n1'), false);
  const twin = { ...second, name: 'twin', tunnelIP: 'fd11::9', encryptionKey: KEY };
  const twins = { ...sealedStatus, nodes: [second, ...rest, twin] };
  assert.deepEqual(
    definePeers(makeNetwork('back', { driver: 'overlay', encrypted: true, status: twins }), 'n1').tunnels,
    [],
  );
});

test('definePeers() is the bridges and containers of other nodes, as far as it is known where they are', () => {
  assert.deepEqual(definePeers(network, 'n1'), {
    hosts: ['192.0.2.2'],
    endpoints: [
      { ip: '10.1.0.32', mac: '0a:00:0a:01:00:20', host: '192.0.2.2' },
      { ip: '10.1.0.33', mac: '02:00:00:00:00:0b', host: '192.0.2.2' },
    ],
  });
});

test('definePeers() leaves out what is no address or of the other family, and keeps the rest', () => {
  const nodes = [
    ...(status.nodes ?? []),
    ...['fd00::4', 'fe80::1%eth0', 'x'].map((underlayIP, index) => ({ name: `n${index + 4}`, underlayIP })),
  ];
  const endpoints = [
    ...(status.endpoints ?? []),
    { container: 'e', ipv4Address: '10.1.0.35', macAddress: '01:00:00:00:00:01', nodeName: 'n2' },
    { container: 'f', ipv4Address: 'x', macAddress: '02:00:00:00:00:0f', nodeName: 'n2' },
    { container: 'g', ipv4Address: '10.1.0.99', macAddress: '02:00:00:00:00:63', nodeName: 'n4' },
  ];
  const odd = makeNetwork('back', { driver: 'overlay', status: { ...status, nodes, endpoints } });
  assert.deepEqual(definePeers(odd, 'n1'), definePeers(network, 'n1'));
});

test('tellPeers() tells what differs from what was told, and all again when the runtime may have forgotten', async () => {
  const told: string[] = [];
  let fails = true;
  const networks = createNodeNetworks(
    { get: () => network, list: () => [network] },
    {
      ensureNetwork: () => Promise.reject(new Error('not asked')),
      setPeers: async (id, { endpoints }) => {
        if (fails) throw new Error('the runtime is away');
        told.push(`${id} ${endpoints.length}`);
      },
    },
    'n1',
  );
  await assert.rejects(networks.tellPeers(network), /away/);
  fails = false;
  await networks.tellPeers(network);
  await networks.tellPeers(network);
  assert.deepEqual(told, ['default/back 2']);
  await networks.tellPeers(makeNetwork('back', { driver: 'overlay', status: { ...status, endpoints: [] } }));
  networks.forget();
  await networks.tellPeers(network);
  await networks.tellPeers(makeNetwork('bridge'));
  assert.deepEqual(told, ['default/back 2', 'default/back 1', 'default/back 2']);
});

test('definePeers() tells the IPv6 addresses of containers and bridges elsewhere, of a network that has any', () => {
  const subnets = [...(status.subnets ?? []), { cidr: 'fd00:1::/64', gateway: 'fd00:1::1' }];
  const endpoints = status.endpoints?.map((one) =>
    one.container === 'b' ? { ...one, ipv6Address: 'fd00:1::b' } : one,
  );
  const dual = makeNetwork('back', { driver: 'overlay', ipv6: true, status: { ...status, subnets, endpoints } });
  const host = '192.0.2.2';
  assert.deepEqual(
    definePeers(dual, 'n1').endpoints.filter(({ ip }) => ip.includes(':')),
    [
      { ip: 'fd00:1::a01:20', mac: '0a:00:0a:01:00:20', host },
      { ip: 'fd00:1::b', mac: '02:00:00:00:00:0b', host },
    ],
  );
  const defined = defineNetwork(dual, 'n1');
  assert.ok(defined.state === 'Ready');
  assert.deepEqual(defined.definition.ipv6, { cidr: 'fd00:1::/64', gateway: 'fd00:1::1', pool: 'fd00:1::/64' });
  assert.equal(defined.definition.subnets.length, 1);
  const without = makeNetwork('back', { driver: 'overlay', status: { ...status, endpoints } });
  assert.deepEqual(definePeers(without, 'n1'), definePeers(network, 'n1'));
});
