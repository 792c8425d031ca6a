import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIpv6Routes, parseRoutes } from '../../../lib/host-routes.ts';

test('parseRoutes() reads ranges and links, without the default route and broken lines', () => {
  const text = [
    'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT',
    'eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0',
    'wl0\t0000800A\t00000000\t0001\t0\t0\t0\t00F0FFFF\t0\t0\t0',
    'eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0',
    'broken',
    '',
  ].join('\n');
  assert.deepEqual(parseRoutes(text), [
    { cidr: '10.128.0.0/20', link: 'wl0' },
    { cidr: '192.0.2.0/24', link: 'eth0' },
  ]);
});

test('parseIpv6Routes() leaves out what the kernel makes by itself and the default route', () => {
  const line = (destination: string, prefix: string, flags: string, link: string): string =>
    `${destination} ${prefix} ${'0'.repeat(32)} 00 ${'0'.repeat(32)} 00000100 00000001 00000000 ${flags}     ${link}`;
  const text = [
    line('fd010000000000000000000000000000', '40', '00000001', 'br0'),
    line('fd02000000000000000000000000000a', '80', '00000001', 'tun0'),
    line('fe800000000000000000000000000000', '40', '00000001', 'br0'),
    line('ff000000000000000000000000000000', '08', '00000001', 'br0'),
    line('00000000000000000000000000000000', '00', '00000003', 'eth0'),
    line('fd010000000000000000000000000001', '80', '80200001', 'br0'),
    line('fd010000000000000000000000000000', '80', '00300001', 'br0'),
    'broken',
  ].join('\n');
  assert.deepEqual(parseIpv6Routes(text), [
    { cidr: 'fd01::/64', link: 'br0' },
    { cidr: 'fd02::a/128', link: 'tun0' },
  ]);
});
