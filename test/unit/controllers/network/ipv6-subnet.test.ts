import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clusterPrefix, planIpv6Subnet } from '../../../../controllers/network/ipv6-subnet.ts';
import { planNetworkStatus } from '../../../../controllers/network/plan.ts';
import type { NetworkStatus } from '../../../../crds/network.ts';
import { formatIpv6Cidr, parseIpv6Cidr } from '../../../../lib/ipv6.ts';
import { makeNetwork, NOW } from '../../../support/objects.ts';

const prefix = parseIpv6Cidr('fd12:3456:789a::/48');
const ipv4 = [{ cidr: '10.128.0.0/20', gateway: '10.128.0.1' }];
const taken = (...cidrs: string[]) =>
  cidrs.map((cidr) => ({ range: parseIpv6Cidr(cidr), holder: `Network of ${cidr}` }));

/** What the network gets, as text. */
const planned = (spec: object, used: readonly string[] = [], status: NetworkStatus = {}): string => {
  const network = makeNetwork('n', { ipv6: true, ...spec, status });
  const plan = planIpv6Subnet(network, { ipv4, taken: taken(...used), prefix });
  if (plan.kind === 'refused') return `${plan.reason}: ${plan.message}`;
  return plan.subnets.map((subnet) => Object.values(subnet).join(' ')).join() || 'none';
};

test('clusterPrefix() is a /48 of unique local addresses, another one for each cluster', () => {
  const [a, b] = ['a', 'b'].map((id) => formatIpv6Cidr(clusterPrefix(id)));
  assert.match(a ?? '', /^fd[0-9a-f]{2}:[0-9a-f:]+\/48$/);
  assert.notEqual(a, b);
  assert.equal(formatIpv6Cidr(clusterPrefix('a')), a);
});

test('planIpv6Subnet() takes the lowest free /64 of the cluster, and keeps it', () => {
  assert.equal(planned({ ipv6: false }), 'none');
  assert.equal(planned({}), 'fd12:3456:789a::/64 fd12:3456:789a::1');
  assert.equal(planned({}, ['fd12:3456:789a::/63']), 'fd12:3456:789a:2::/64 fd12:3456:789a:2::1');
  assert.match(planned({}, ['fd00::/8']), /^PoolExhausted: no \/64 is left in fd12:3456:789a::\/48/);
  const subnets = [...ipv4, { cidr: 'fd12:3456:789a:7::/64', gateway: 'fd12:3456:789a:7::1' }];
  const clash = ['fd12:3456:789a:7::/64'];
  assert.match(planned({}, [], { subnets }), /^fd12:3456:789a:7::/);
  assert.match(planned({}, clash, { subnets, nodes: [{ name: 'a', bridge: 'b' }] }), /^fd12:3456:789a:7::/);
  assert.match(planned({}, clash, { subnets }), /^fd12:3456:789a::/);
});

test('planIpv6Subnet() takes a wish in its shortest form', () => {
  assert.equal(planned({ subnets: [{ cidr: 'FD00:0:0:1::/64' }] }), 'fd00:0:0:1::/64 fd00:0:0:1::1');
  assert.equal(
    planned({
      subnets: [{ cidr: '10.0.0.0/16' }, { cidr: 'fd00::/64', gateway: 'fd00::fe', ipRange: 'fd00::1:0:0:0/80' }],
    }),
    'fd00::/64 fd00::fe fd00::1:0:0:0/80',
  );
});

test('planIpv6Subnet() refuses by the path of the field what cannot be', () => {
  const refused: readonly (readonly [object, RegExp])[] = [
    [
      { cidr: 'fd00::1/64' },
      /^InvalidSubnet: spec.subnets\[0\].cidr: fd00::1\/64 has bits after its prefix, want fd00::\/64$/,
    ],
    [{ cidr: 'fd00::/112' }, /subnets\[0\].cidr: fd00::\/112 must have a prefix length from 8 to 96/],
    [{ cidr: 'fd00::/64', ipRange: 'fd00::/100' }, /subnets\[0\].ipRange: fd00::\/100 must have a prefix length/],
    [{ cidr: 'fd00::/64', ipRange: 'fd01::/80' }, /subnets\[0\].ipRange: fd01::\/80 is not in fd00::\/64/],
    [{ cidr: 'fd00::/64', ipRange: '10.0.0.0/8' }, /subnets\[0\].ipRange: 10.0.0.0\/8 is not in/],
    [{ cidr: 'fd00::/64', gateway: '10.0.0.1' }, /subnets\[0\].gateway: 10.0.0.1 is not a usable address/],
    [{ cidr: 'fd00::/64', gateway: 'fd00::' }, /subnets\[0\].gateway: fd00:: is not a usable/],
    [{ cidr: 'fd00::/64', gateway: 'fd00::a80:9' }, /is kept for the container that has 10.128.0.9/],
    [
      { cidr: 'fd07::/64' },
      /^SubnetOverlap: spec.subnets\[0\].cidr: fd07::\/64 overlaps fd07::\/16 of Network of fd07::\/16/,
    ],
  ];
  for (const [subnet, message] of refused) assert.match(planned({ subnets: [subnet] }, ['fd07::/16']), message);
});

test('planNetworkStatus() gives a network with IPv6 a subnet of each family, and no blocks of the second', () => {
  const network = makeNetwork('n', { ipv6: true, subnets: [{ cidr: 'fd00::/64' }] });
  const status = planNetworkStatus({ ...{ network, containers: [], taken: [], nodeNames: ['a'], now: NOW } });
  assert.deepEqual(
    status.subnets?.map(({ cidr }) => cidr),
    ['10.128.0.0/20', 'fd00::/64'],
  );
  assert.ok(status.nodes?.[0]?.ranges?.every((range) => range.startsWith('10.128.')));
  const again = planNetworkStatus({
    ...{ network: { ...network, status }, containers: [], taken: [], nodeNames: ['a'], now: NOW },
  });
  assert.deepEqual(again.subnets, status.subnets);
});
