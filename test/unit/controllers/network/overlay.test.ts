import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeBlocks } from '../../../../controllers/network/blocks.ts';
import { formatCidr } from '../../../../controllers/network/ipv4.ts';
import { findClash, nodeAddress, nodeMac, planVni, VNIS } from '../../../../controllers/network/overlay.ts';
import { planNetworkStatus, type NetworkObserved } from '../../../../controllers/network/plan.ts';
import { planUnderlays } from '../../../../controllers/network/underlay.ts';
import type { Network } from '../../../../crds/network.ts';
import { makeContainer, makeNetwork, NOW } from '../../../support/objects.ts';

test('planVni() keeps what a network has, unless another has it', () => {
  assert.equal(planVni(5000, new Set([4096]), 0), 5000);
  assert.equal(planVni(5000, new Set([5000]), 7), VNIS.first + 7);
  assert.equal(planVni(1, new Set(), 0), VNIS.first, 'one that is not from the range');
});

test('planVni() takes the next free one from where the cluster starts, around the end, and none when all are taken', () => {
  const few = { first: 10, last: 12 };
  assert.equal(planVni(undefined, new Set(), 2, few), 12);
  assert.equal(planVni(undefined, new Set([12]), 2, few), 10);
  assert.equal(planVni(undefined, new Set([10, 11, 12]), 2, few), undefined);
  const start = 0xffff_ffff;
  const vni = planVni(undefined, new Set(), start) ?? 0;
  assert.ok(vni >= VNIS.first && vni <= VNIS.last, String(vni));
});

test('nodeAddress() is the lowest usable one of the node, and stays while its blocks hold it', () => {
  const subnet = { cidr: '10.1.0.0/24', gateway: '10.1.0.1' };
  assert.equal(nodeAddress(subnet, ['10.1.0.0/28'], undefined), '10.1.0.2', 'neither the network nor its gateway');
  assert.equal(nodeAddress(subnet, ['10.1.0.16/28'], undefined), '10.1.0.16');
  assert.equal(nodeAddress(subnet, ['10.1.0.32/28', '10.1.0.16/28'], '10.1.0.20'), '10.1.0.20');
  assert.equal(nodeAddress(subnet, ['10.1.0.32/28'], '10.1.0.20'), '10.1.0.32');
  assert.equal(nodeAddress(subnet, [], '10.1.0.20'), undefined);
  assert.equal(nodeMac('10.1.0.255'), '0a:00:0a:01:00:ff');
});

test('blocks of an overlay are small, so that many nodes get one', () => {
  const blocks = nodeBlocks({ cidr: '10.128.0.0/20' }, 32).map(formatCidr);
  assert.equal(blocks.length, 120);
  assert.deepEqual(blocks.slice(-1), ['10.128.14.224/27'], 'the last sixteenth is for virtual IPs');
  assert.equal(nodeBlocks({ cidr: '10.0.0.0/26' }, 32).length, 15, 'those of a small network are smaller anyway');
});

test('findClash() names what two endpoints have in common', () => {
  const nodes = [{ name: 'n1', ipv4Address: '10.1.0.2' }, { name: 'n2' }];
  assert.equal(
    findClash([{ container: 'a', ipv4Address: '10.1.0.3', macAddress: '02:00:00:00:00:01' }], nodes),
    undefined,
  );
  assert.equal(
    findClash([{ container: 'a', ipv4Address: '10.1.0.2' }], nodes),
    '10.1.0.2 is that of node n1 and of container a',
  );
  assert.equal(
    findClash(
      [
        { container: 'a', ipv4Address: '10.1.0.3', macAddress: '02:00:00:00:00:AA' },
        { container: 'b', ipv4Address: '10.1.0.4', macAddress: '02:00:00:00:00:aa' },
      ],
      nodes,
    ),
    '02:00:00:00:00:aa is that of container a and of container b',
  );
});

test('planUnderlays() takes one family for all nodes', () => {
  const both = { name: 'a', addresses: ['192.0.2.1', 'fd00::1'] };
  assert.deepEqual(planUnderlays([both, { name: 'b', addresses: ['192.0.2.2'] }]), {
    addresses: new Map([
      ['a', '192.0.2.1'],
      ['b', '192.0.2.2'],
    ]),
  });
  assert.deepEqual(planUnderlays([both, { name: 'b', addresses: ['fd00::2'] }]).addresses.get('a'), 'fd00::1');
  assert.equal(
    planUnderlays([
      { name: 'a', addresses: ['192.0.2.1'] },
      { name: 'b', addresses: ['fd00::2'] },
    ]).problem,
    'node b has IPv6 addresses only and node a has no IPv6 address: give all nodes one family',
  );
});

test('planUnderlays() names nodes that no other can reach', () => {
  const problem = (...addresses: string[]): string | undefined =>
    planUnderlays(addresses.map((address, index) => ({ name: `n${index}`, addresses: [address] }))).problem;
  assert.equal(problem('127.0.0.1'), undefined, 'a node alone reaches itself');
  assert.equal(problem('192.0.2.1', '127.0.0.1'), 'node n1 has the address 127.0.0.1, which no other node can reach');
  assert.equal(problem('192.0.2.1', '192.0.2.1'), 'nodes n0 and n1 have one address, 192.0.2.1');
  assert.equal(planUnderlays([{ name: 'a', addresses: [] }]).addresses.size, 0);
});

const UNDERLAYS = planUnderlays(['a', 'b', 'c'].map((name, index) => ({ name, addresses: [`192.0.2.${index + 1}`] })));
function status(network: Network, observed: Partial<NetworkObserved> = {}) {
  const result = planNetworkStatus({
    ...{ network, containers: [], taken: [], nodeNames: ['a', 'b', 'c'], underlays: UNDERLAYS, now: NOW },
    ...observed,
  });
  const ready = result.conditions?.find(({ type }) => type === 'Ready');
  return { ...result, ready: `${ready?.status} ${ready?.reason}: ${ready?.message}` };
}
const overlay = makeNetwork('n', { driver: 'overlay' });

test('planNetworkStatus() gives an overlay a VNI, and each node an address, a MAC and where it is reached', () => {
  const result = status(overlay, { poolStart: 1024, takenVnis: new Set([5120]) });
  assert.equal(result.ready, 'True Allocated: no container uses it yet');
  assert.equal(result.vni, 5121);
  assert.equal(result.vxlanPort, 4789);
  assert.deepEqual(
    result.nodes?.map(({ name, ipv4Address, macAddress, underlayIP, ranges }) => [
      ...[name, ipv4Address, macAddress, underlayIP],
      ranges?.length,
    ]),
    [
      ['a', '10.128.0.2', '0a:00:0a:80:00:02', '192.0.2.1', 8],
      ['b', '10.128.1.0', '0a:00:0a:80:01:00', '192.0.2.2', 8],
      ['c', '10.128.2.0', '0a:00:0a:80:02:00', '192.0.2.3', 8],
    ],
  );
  const { ready: _, ...kept } = result;
  assert.deepEqual(status(makeNetwork('n', { driver: 'overlay', status: kept }), { poolStart: 9 }), result, 'stable');
});

test('planNetworkStatus() follows a node to another address', () => {
  const { ready: _, ...kept } = status(overlay);
  const moved = planUnderlays([{ name: 'a', addresses: ['198.51.100.1'] }]);
  const nodes = status(makeNetwork('n', { driver: 'overlay', status: kept }), { underlays: moved }).nodes;
  assert.deepEqual(
    nodes?.map(({ underlayIP }) => underlayIP),
    ['198.51.100.1', undefined, undefined],
  );
});

test('planNetworkStatus() leaves room for nodes that come later, also in a small overlay', () => {
  const small = makeNetwork('n', { driver: 'overlay', subnets: [{ cidr: '10.9.0.0/24' }] });
  const first = status(small, { nodeNames: ['a'] });
  const { ready: _, ...kept } = first;
  const names = ['a', 'b', 'c', 'd', 'e'];
  const containers = names.map((name) => makeContainer(`on-${name}`, { nodeName: name, networks: [{ name: 'n' }] }));
  const later = status({ ...small, status: kept }, { nodeNames: names, containers });
  assert.equal(
    later.nodes?.every(({ ranges }) => ranges?.length !== 0),
    true,
  );
  assert.match(later.ready, /SettingUp/);
});

test('planNetworkStatus() puts the ingress on every node, however many', () => {
  const ingress = makeNetwork('ingress', { driver: 'overlay', metadata: { namespace: 'windlass-system' } });
  const nodeNames = Array.from({ length: 900 }, (_, index) => `node-${String(index).padStart(3, '0')}`);
  const result = status(ingress, { nodeNames });
  const addresses = new Set(result.nodes?.map(({ ipv4Address }) => ipv4Address));
  assert.deepEqual([addresses.size, addresses.has(undefined)], [900, false]);
  assert.match(result.ready, /^True Allocated/);
});

test('planNetworkStatus() says by name what an overlay cannot be', () => {
  const two = [{ cidr: '10.1.0.0/24' }, { cidr: '10.2.0.0/24' }];
  assert.match(
    status(makeNetwork('n', { driver: 'overlay', subnets: two })).ready,
    /^False InvalidSubnet: spec.subnets/,
  );
  assert.equal(
    status(overlay, { vnis: { first: 7, last: 8 }, takenVnis: new Set([7, 8]) }).ready,
    'False VNIsExhausted: no VNI is left from 7 to 8: delete overlays that nobody uses',
  );
  const nodes = ['a', 'b'].map((name) => ({ name, addresses: ['192.0.2.1'] }));
  assert.equal(
    status(overlay, { underlays: planUnderlays(nodes) }).ready,
    'False NodesUnreachable: nodes a and b have one address, 192.0.2.1',
  );
  const twins = ['x', 'y'].map((name) =>
    makeContainer(name, {
      ...{ nodeName: 'a', networks: [{ name: 'n' }] },
      status: { phase: 'Running', nodeName: 'a', networks: [{ name: 'n', ipv4Address: '10.128.0.9' }] },
    }),
  );
  assert.equal(
    status(overlay, { containers: twins }).ready,
    'False AddressConflict: 10.128.0.9 is that of container x and of container y',
  );
});
