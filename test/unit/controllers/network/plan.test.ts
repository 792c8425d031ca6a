import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assignBlocks, nextVirtualIp, nodeBlocks, virtualBlock } from '../../../../controllers/network/blocks.ts';
import {
  contains,
  formatCidr,
  overlaps,
  parseCidr,
  parseIpv4,
  splitRange,
} from '../../../../controllers/network/ipv4.ts';
import { networksOf, planNetworkStatus } from '../../../../controllers/network/plan.ts';
import { planSubnets } from '../../../../controllers/network/subnets.ts';
import type { Container } from '../../../../crds/container.ts';
import type { Network } from '../../../../crds/network.ts';
import { makeContainer, makeNetwork, NOW } from '../../../support/objects.ts';

const taken = (...cidrs: string[]) => cidrs.map((cidr) => ({ range: parseCidr(cidr), holder: `Network of ${cidr}` }));

test('parseCidr() cuts off bits below the prefix and refuses what is no range', () => {
  assert.equal(formatCidr(parseCidr('10.1.2.3/20')), '10.1.0.0/20');
  for (const bad of ['', '10.0.0.0', '10.0.0.0/33', '10.0.0/8', '10.0.0.256/8', 'a/8', '10.0.0.0/8/8', '10.0.0.0/-1']) {
    assert.throws(() => parseCidr(bad), /invalid IPv4 range/, bad);
  }
  assert.equal(parseIpv4('255.255.255.255'), 2 ** 32 - 1);
});

test('ranges overlap, contain and split', () => {
  const outer = parseCidr('10.0.0.0/8');
  const inner = parseCidr('10.255.0.0/16');
  assert.deepEqual([overlaps(outer, inner), contains(outer, inner), contains(inner, outer)], [true, true, false]);
  assert.equal(overlaps(parseCidr('10.0.0.0/16'), parseCidr('10.1.0.0/16')), false);
  assert.deepEqual(splitRange(parseCidr('10.0.0.0/30'), 16).map(formatCidr), [
    '10.0.0.0/32',
    '10.0.0.1/32',
    '10.0.0.2/32',
    '10.0.0.3/32',
  ]);
});

test('planSubnets() takes the lowest free range of the pool', () => {
  assert.deepEqual(planSubnets(makeNetwork('n'), []), {
    kind: 'allocated',
    subnets: [{ cidr: '10.128.0.0/20', gateway: '10.128.0.1' }],
  });
  const next = planSubnets(makeNetwork('n'), taken('10.128.0.0/20', '10.128.16.5/32'));
  assert.deepEqual(next.kind === 'allocated' && next.subnets[0]?.cidr, '10.128.32.0/20');
});

test('planSubnets() searches from the start that the cluster has, around the end of the pool', () => {
  const cidrOf = (start: number, ...used: string[]): string | undefined => {
    const plan = planSubnets(makeNetwork('n'), taken(...used), { start });
    return plan.kind === 'allocated' ? plan.subnets[0]?.cidr : plan.reason;
  };
  assert.equal(cidrOf(3), '10.128.48.0/20');
  assert.equal(cidrOf(1023), '10.191.240.0/20');
  assert.equal(cidrOf(1023, '10.191.240.0/20'), '10.128.0.0/20');
  assert.equal(cidrOf(0xffff_ffff), '10.191.240.0/20');
});

test('planSubnets() keeps what a node has set up, whatever comes later, and moves what none has', () => {
  const subnets = [{ cidr: '10.128.0.0/20', gateway: '10.128.0.1' }];
  const network = makeNetwork('n', { status: { subnets, nodes: [{ name: 'a', bridge: 'wl0' }] } });
  assert.deepEqual(planSubnets(network, taken('10.128.0.0/20')), { kind: 'allocated', subnets });
  const unused = makeNetwork('n', { status: { subnets, nodes: [{ name: 'a' }] } });
  assert.deepEqual(planSubnets(unused, taken('192.0.2.0/24')), { kind: 'allocated', subnets });
  const moved = planSubnets(unused, taken('10.128.0.0/20'));
  assert.equal(moved.kind === 'allocated' && moved.subnets[0]?.cidr, '10.128.16.0/20');
});

test('planSubnets() says who uses a pool that is used up', () => {
  const plan = planSubnets(makeNetwork('n'), taken('10.128.0.0/10'));
  assert.equal(plan.kind === 'refused' && plan.reason, 'PoolExhausted');
  assert.match(plan.kind === 'refused' ? plan.message : '', /used by Network of 10.128.0.0\/10/);
});

test('planSubnets() takes a wish, with the first address as gateway', () => {
  assert.deepEqual(
    planSubnets(makeNetwork('n', { subnets: [{ cidr: '192.168.7.0/24', ipRange: '192.168.7.128/25' }] }), []),
    {
      kind: 'allocated',
      subnets: [{ cidr: '192.168.7.0/24', gateway: '192.168.7.1', ipRange: '192.168.7.128/25' }],
    },
  );
});

test('planSubnets() refuses a wish that cannot be, naming the field', () => {
  const refusal = (...subnets: { cidr: string; gateway?: string; ipRange?: string }[]): string => {
    const plan = planSubnets(makeNetwork('n', { subnets }), taken('10.1.0.0/16'));
    return plan.kind === 'refused' ? `${plan.reason} ${plan.message}` : 'allocated';
  };
  assert.match(
    refusal({ cidr: '10.1.2.0/24' }),
    /^SubnetOverlap spec.subnets\[0\].cidr: 10.1.2.0\/24 overlaps 10.1.0.0\/16 of Network of/,
  );
  assert.match(
    refusal({ cidr: '10.2.0.0/24' }, { cidr: '10.2.0.0/25' }),
    /^SubnetOverlap spec.subnets\[1\].*this Network itself/,
  );
  assert.match(
    refusal({ cidr: '10.2.0.1/24' }),
    /^InvalidSubnet spec.subnets\[0\].cidr: 10.2.0.1\/24 has bits after its prefix, want 10.2.0.0\/24/,
  );
  assert.match(refusal({ cidr: '10.2.0.0/30' }), /prefix length from 8 to 29/);
  assert.match(refusal({ cidr: '10.2.0.0/24', gateway: '10.3.0.1' }), /gateway: 10.3.0.1 is not a usable address/);
  assert.match(refusal({ cidr: '10.2.0.0/24', gateway: '10.2.0.255' }), /gateway: 10.2.0.255 is not a usable address/);
  assert.match(
    refusal({ cidr: '10.2.0.0/24', ipRange: '10.3.0.0/25' }),
    /ipRange: 10.3.0.0\/25 is not in 10.2.0.0\/24/,
  );
});

test('the last of 16 blocks is for virtual IPs', () => {
  const subnet = { cidr: '10.128.0.0/20', gateway: '10.128.0.1' };
  assert.equal(nodeBlocks(subnet).length, 15);
  assert.equal(formatCidr(virtualBlock(subnet)), '10.128.15.0/24');
  assert.equal(nextVirtualIp([subnet], new Set()), '10.128.15.0');
  assert.equal(nextVirtualIp([{ cidr: '10.0.0.0/29' }], new Set()), '10.0.0.6');
});

const SUBNET = [{ cidr: '10.128.0.0/20', gateway: '10.128.0.1' }];
const assign = (
  current: { name: string; ranges?: string[] }[],
  demands: [string, number][],
  subnets = SUBNET,
  gone: string[] = [],
) => {
  const result = assignBlocks(
    subnets,
    current,
    demands.map(([nodeName, containers]) => ({ nodeName, containers })),
    {
      isGone: (name) => gone.includes(name),
      minimumBlocks: 1,
    },
  );
  return { ranges: Object.fromEntries(result.ranges), short: result.short };
};

test('assignBlocks() gives each node blocks of its own, by need', () => {
  assert.deepEqual(
    assign(
      [],
      [
        ['a', 1],
        ['b', 300],
      ],
    ).ranges,
    {
      a: ['10.128.0.0/24'],
      b: ['10.128.1.0/24', '10.128.2.0/24'],
    },
  );
});

test('assignBlocks() keeps what a node has, also without a demand, until the node is gone', () => {
  const current = [
    { name: 'a', ranges: ['10.128.3.0/24'] },
    { name: 'b', ranges: ['10.128.0.0/24'] },
  ];
  assert.deepEqual(assign(current, [['c', 1]]).ranges, {
    a: ['10.128.3.0/24'],
    b: ['10.128.0.0/24'],
    c: ['10.128.1.0/24'],
  });
  assert.deepEqual(assign(current, [['c', 1]], SUBNET, ['b']).ranges, { a: ['10.128.3.0/24'], c: ['10.128.0.0/24'] });
});

test('assignBlocks() never gives one block to two nodes', () => {
  const twice = [
    { name: 'a', ranges: ['10.128.0.0/24'] },
    { name: 'b', ranges: ['10.128.0.0/24', '10.9.9.0/24'] },
  ];
  assert.deepEqual(assign(twice, [['b', 1]]).ranges, { a: ['10.128.0.0/24'], b: ['10.128.1.0/24'] });
});

test('assignBlocks() names the nodes for which nothing is left', () => {
  const small = [{ cidr: '10.0.0.0/28', gateway: '10.0.0.1' }];
  assert.deepEqual(
    assign(
      [],
      [
        ['a', 20],
        ['b', 1],
      ],
      small,
    ).short,
    ['a', 'b'],
  );
});

function status(network: Network, containers: Container[], nodeNames = ['a', 'b'], routes: string[] = []) {
  const result = planNetworkStatus({ network, containers, taken: taken(...routes), nodeNames, now: NOW });
  const ready = result.conditions?.find(({ type }) => type === 'Ready');
  return { ...result, ready: `${ready?.status} ${ready?.reason}: ${ready?.message}` };
}
const onNode = (name: string, nodeName: string, ip?: string, phase: 'Running' | 'Unknown' = 'Running'): Container =>
  makeContainer(name, {
    nodeName,
    status: { phase, nodeName, ...(ip ? { networks: [{ name: 'n', ipv4Address: ip }] } : {}) },
  });

test('planNetworkStatus() is Ready before anyone uses it, with blocks for the few nodes there are', () => {
  const result = status(makeNetwork('n'), []);
  assert.equal(result.ready, 'True Allocated: no container uses it yet');
  assert.deepEqual(
    result.nodes?.map(({ name }) => name),
    ['a', 'b'],
  );
});

test('planNetworkStatus() gives a single node half of the blocks', () => {
  assert.equal(status(makeNetwork('n'), [], ['a']).nodes?.[0]?.ranges?.length, 8);
});

test('planNetworkStatus() waits for the node that needs it, and names it', () => {
  const first = status(makeNetwork('n'), [onNode('c', 'a')]);
  assert.equal(first.ready, 'False SettingUp: waiting for node a to set it up');
  const reported = makeNetwork('n', {
    status: { ...first, nodes: first.nodes?.map((node) => (node.name === 'a' ? { ...node, bridge: 'wl0' } : node)) },
  });
  const second = status(reported, [onNode('c', 'a')]);
  assert.equal(second.ready, 'True Usable: usable on 1 node(s)');
  assert.equal(second.nodes?.[0]?.bridge, 'wl0');
  const failed = makeNetwork('n', {
    status: { ...first, nodes: first.nodes?.map((node) => ({ ...node, ready: false, message: 'no bridge module' })) },
  });
  assert.equal(status(failed, [onNode('c', 'a')]).ready, 'False NodeFailed: not usable on node a (no bridge module)');
});

test('planNetworkStatus() lists endpoints by name, but none on a node that is not heard of', () => {
  const containers = [
    onNode('z', 'a', '10.128.0.3'),
    onNode('b', 'b', '10.128.1.2'),
    onNode('dead', 'b', '10.128.1.3', 'Unknown'),
    onNode('new', 'a'),
  ];
  assert.deepEqual(status(makeNetwork('n'), containers).endpoints, [
    { container: 'b', ipv4Address: '10.128.1.2', nodeName: 'b' },
    { container: 'z', ipv4Address: '10.128.0.3', nodeName: 'a' },
  ]);
});

test('planNetworkStatus() gives no addresses to a wish that overlaps', () => {
  const result = status(makeNetwork('n', { subnets: [{ cidr: '10.5.0.0/16' }] }), [], ['a'], ['10.5.1.0/24']);
  assert.match(result.ready, /^False SubnetOverlap/);
  assert.equal(result.subnets, undefined);
});

test('networksOf() is default unless said, and nothing for the host or a shared namespace', () => {
  const of = (spec: Parameters<typeof makeContainer>[1]) => networksOf(makeContainer('c', spec));
  assert.deepEqual(of({}), ['default']);
  assert.deepEqual(of({ networks: [] }), []);
  assert.deepEqual(of({ networks: [{ name: 'x' }, { name: 'y' }] }), ['x', 'y']);
  assert.deepEqual(of({ hostNetwork: true }), []);
  assert.deepEqual(of({ shareNamespaces: { network: 'c2' } }), []);
});
