import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  containsIpv6,
  formatIpv6Cidr,
  ipv4NumberOf,
  ipv6Of,
  linkLocalOf,
  overlapsIpv6,
  parseIpv6Cidr,
} from '../../../lib/ipv6.ts';

test('parseIpv6Cidr() clears bits after the prefix and refuses what is no range', () => {
  assert.equal(formatIpv6Cidr(parseIpv6Cidr('FD00:1:0:0::7/64')), 'fd00:1::/64');
  assert.equal(formatIpv6Cidr(parseIpv6Cidr('::/0')), '::/0');
  for (const bad of ['', 'fd00::', 'fd00::/129', 'fd00::/x', 'fd00::/64/1', '10.0.0.0/8', 'fe80::1%eth0/64'])
    assert.throws(() => parseIpv6Cidr(bad), { reason: 'Invalid' }, bad);
});

test('ranges overlap and contain', () => {
  const [outer, inner, other] = ['fd00::/16', 'fd00:ffff::/64', 'fd01::/64'].map(parseIpv6Cidr);
  assert.ok(outer && inner && other);
  assert.deepEqual([overlapsIpv6(outer, inner), overlapsIpv6(inner, other)], [true, false]);
  assert.deepEqual([containsIpv6(outer, inner), containsIpv6(inner, outer)], [true, false]);
});

test('ipv6Of() and ipv4NumberOf() are inverse, up to the last address', () => {
  assert.equal(ipv6Of('fd00:1::/64', '10.128.0.5'), 'fd00:1::a80:5');
  assert.equal(ipv6Of('fd00:1::/96', '255.255.255.255'), 'fd00:1::ffff:ffff');
  assert.equal(ipv4NumberOf('fd00:1::/64', 'fd00:1::a80:5'), 0x0a80_0005);
  assert.equal(ipv4NumberOf('fd00:1::/64', 'fd00:1::1:0:0'), undefined);
  assert.equal(ipv4NumberOf('fd00:1::/64', 'fd00::1'), undefined);
});

test('linkLocalOf() is the address that the kernel would make up', () => {
  assert.equal(linkLocalOf('02:00:0a:c9:00:02'), 'fe80::aff:fec9:2');
  assert.equal(linkLocalOf('c0:7b:12:30:69:67'), 'fe80::c27b:12ff:fe30:6967');
});
