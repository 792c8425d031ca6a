import assert from 'node:assert/strict';
import { test } from 'node:test';
import { choosePodCidr, planPodNetwork } from '../../../../runtime-shim/network/pod-network.ts';

test('planPodNetwork() takes the first address as the gateway and cuts host bits off', () => {
  assert.deepEqual(planPodNetwork('10.9.3.7/16', 1400), {
    id: 'default',
    subnets: [{ cidr: '10.9.0.0/16', gateway: '10.9.0.1', ranges: [] }],
    internal: false,
    isolated: false,
    mtu: 1400,
    domain: '',
  });
});

test('planPodNetwork() refuses what is no range, or holds no containers, and quotes it', () => {
  for (const cidr of ['10.9.0.0', '10.9.0.0/33', '300.1.1.0/24', 'fd00::/64', '', '10.9.0.0/30', '10.0.0.0/4'])
    assert.throws(() => planPodNetwork(cidr, 1500), { reason: 'Invalid' }, cidr);
});

test('choosePodCidr() keeps clear of the networks and of the routes of the host', () => {
  const network = planPodNetwork('10.200.64.0/24', 1500);
  assert.equal(choosePodCidr([], []), '10.200.0.0/16');
  assert.equal(choosePodCidr([network], []), '10.201.0.0/16');
  assert.equal(choosePodCidr([network], [{ cidr: '10.201.0.0/17', link: 'tun0' }]), '10.202.0.0/16');
  assert.equal(choosePodCidr([], [{ cidr: '10.223.0.0/16', link: 'tun0' }], 23), '10.200.0.0/16', 'in a circle');
  assert.throws(() => choosePodCidr([], [{ cidr: '10.0.0.0/8', link: 'tun0' }]), /--pod-cidr/);
});
