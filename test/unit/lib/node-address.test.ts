import assert from 'node:assert/strict';
import type { NetworkInterfaceInfo } from 'node:os';
import { test } from 'node:test';
import { firstOwnAddress, linkOfAddress, parseNodeIps, requireOwnAddresses } from '../../../lib/node-address.ts';

const info = (address: string, internal = false): NetworkInterfaceInfo =>
  ({ address, internal, family: address.includes(':') ? 'IPv6' : 'IPv4' }) as NetworkInterfaceInfo;
const interfaces = {
  lo: [info('127.0.0.1', true), info('::1', true)],
  eth0: [info('fd00::5'), info('10.1.0.5')],
  eth1: [info('10.2.0.5')],
};

test('parseNodeIps() takes one address, or one of each family, in the order given', () => {
  assert.deepEqual(parseNodeIps('10.1.0.5'), ['10.1.0.5']);
  assert.deepEqual(parseNodeIps('fd00::5, 10.1.0.5'), ['fd00::5', '10.1.0.5']);
});

test('parseNodeIps() refuses what others could not reach, and says why', () => {
  const refused: [string, RegExp][] = [
    ['', /--node-ip {2}is not an IP address/],
    ['node-1', /--node-ip node-1 is not an IP address/],
    ['10.1.0.5/24', /is not an IP address/],
    ['10.1.0.5,10.2.0.5', /several addresses of one family/],
    ['0.0.0.0', /stands for all addresses/],
    ['::', /stands for all addresses/],
    ['127.0.0.1', /loopback/],
    ['0:0:0:0:0:0:0:1', /loopback/],
    ['224.0.0.1', /multicast/],
    ['ff02::1', /multicast/],
    ['fe80::1', /link-local/],
    ['FE80::1%eth0', /link-local/],
  ];
  for (const [text, message] of refused) assert.throws(() => parseNodeIps(text), message, text);
});

test('linkOfAddress() and requireOwnAddresses() compare addresses by value', () => {
  assert.equal(linkOfAddress('fd00:0:0:0:0:0:0:5', interfaces), 'eth0');
  assert.equal(linkOfAddress('10.2.0.5', interfaces), 'eth1');
  assert.equal(linkOfAddress('10.3.0.5', interfaces), undefined);
  requireOwnAddresses(['10.1.0.5', 'FD00::5'], interfaces);
  assert.throws(
    () => requireOwnAddresses(['10.3.0.5'], interfaces),
    /--node-ip 10\.3\.0\.5 is not an address of this machine \(it has fd00::5, 10\.1\.0\.5, 10\.2\.0\.5\)/,
  );
});

test('firstOwnAddress() is an IPv4 address of a link that is not the loopback', () => {
  assert.equal(firstOwnAddress(interfaces), '10.1.0.5');
  assert.equal(firstOwnAddress({ lo: [info('127.0.0.1', true)] }), '127.0.0.1');
});
