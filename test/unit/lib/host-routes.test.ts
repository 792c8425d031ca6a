import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRoutes } from '../../../lib/host-routes.ts';

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
