import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allocateAddress, claimAddress, formatIp, parseCidr, parseIp } from '../../../../runtime-shim/network/ipam.ts';

const subnet = { cidr: '10.1.0.0/29', gateway: '10.1.0.1', ranges: [] };
const used = (...ips: string[]): Map<number, string> => new Map(ips.map((ip) => [parseIp(ip), `holder of ${ip}`]));

test('parseIp() and formatIp() are inverse, up to the last address', () => {
  for (const ip of ['0.0.0.0', '10.128.0.1', '192.0.2.255', '255.255.255.255']) assert.equal(formatIp(parseIp(ip)), ip);
});

test('parseIp() and parseCidr() refuse what is not one', () => {
  for (const text of ['', '1.2.3', '1.2.3.256', '1.2.3.4.5', 'a.b.c.d', '01.2.3.4567', '::1'])
    assert.throws(() => parseIp(text), { reason: 'Invalid' }, text);
  for (const text of ['10.0.0.0', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/', 'x/8'])
    assert.throws(() => parseCidr(text), { reason: 'Invalid' }, text);
});

test('allocateAddress() leaves out network, gateway and broadcast and goes round', () => {
  const lease = (...args: Parameters<typeof allocateAddress>): string => allocateAddress(...args).ip;
  assert.equal(lease([subnet], used()), '10.1.0.2');
  assert.equal(lease([subnet], used('10.1.0.2', '10.1.0.3')), '10.1.0.4');
  assert.equal(lease([subnet], used(), parseIp('10.1.0.4')), '10.1.0.5', 'a released address rests');
  assert.equal(lease([subnet], used('10.1.0.6'), parseIp('10.1.0.5')), '10.1.0.2');
});

test('allocateAddress() stays within the ranges and says when they are full', () => {
  const narrow = { ...subnet, ranges: ['10.1.0.4/31'] };
  assert.deepEqual(allocateAddress([narrow], used('10.1.0.4')), {
    ip: '10.1.0.5',
    prefixLength: 29,
    gateway: '10.1.0.1',
  });
  assert.throws(() => allocateAddress([narrow], used('10.1.0.4', '10.1.0.5')), {
    reason: 'Unavailable',
    message: 'no free address left in 10.1.0.4/31',
  });
});

test('allocateAddress() falls over to the next subnet', () => {
  const full = { cidr: '10.2.0.0/30', gateway: '10.2.0.1', ranges: [] };
  assert.equal(allocateAddress([full, subnet], used('10.2.0.2')).gateway, '10.1.0.1');
});

test('claimAddress() names the holder and refuses what no container may have', () => {
  assert.equal(claimAddress([subnet], used(), '10.1.0.5').ip, '10.1.0.5');
  assert.throws(() => claimAddress([subnet], used('10.1.0.5'), '10.1.0.5'), {
    reason: 'Conflict',
    message: 'address 10.1.0.5 is in use by holder of 10.1.0.5',
  });
  for (const ip of ['10.1.0.0', '10.1.0.1', '10.1.0.7', '10.9.0.1', 'nonsense'])
    assert.throws(() => claimAddress([subnet], used(), ip), { reason: 'Invalid' }, ip);
});
