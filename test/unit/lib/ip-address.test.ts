import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressBytes, formatAddress } from '../../../lib/ip-address.ts';

test('addresses become bytes and text again', () => {
  for (const ip of ['192.0.2.1', '0.0.0.0', 'fd00::1', '::', '::1', '2001:db8:0:1:2:3:4:5', 'fe80::aabb:0:1'])
    assert.equal(formatAddress(addressBytes(ip)), ip);
  assert.equal(addressBytes('fd00::1').toString('hex'), 'fd000000000000000000000000000001');
  assert.equal(addressBytes('FD00:0:0::0001').toString('hex'), 'fd000000000000000000000000000001');
  assert.equal(addressBytes('::ffff:192.0.2.1').toString('hex'), '00000000000000000000ffffc0000201');
  assert.equal(formatAddress(Buffer.alloc(3)), '');
  assert.equal(formatAddress(undefined), '');
});

test('addressBytes() refuses what is no address', () => {
  for (const bad of ['', '192.0.2', '192.0.2.256', 'fe80::1%eth0', 'fd00:::1', 'example.org'])
    assert.throws(() => addressBytes(bad), /not an IP address/, bad);
});
