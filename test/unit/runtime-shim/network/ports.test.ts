import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SystemError } from '../../../../runtime-shim/host/libc.ts';
import type { PublishedPort } from '../../../../runtime-shim/network/node-network.ts';
import { socketInodes } from '../../../../runtime-shim/network/port-holder.ts';
import { createPortTable, type PortTable } from '../../../../runtime-shim/network/ports.ts';

const port = (hostPort: number, hostIp = '', protocol: 'TCP' | 'UDP' = 'TCP'): PublishedPort => ({
  ...{ protocol, hostPort, hostIp, containerPort: 80 },
});

function makeTable(options: { busy?: readonly number[] } = {}): { table: PortTable; held: Set<number> } {
  const held = new Set<number>();
  const EADDRINUSE = 98;
  const table = createPortTable(
    (_protocol, _ip, wanted) => {
      if (options.busy?.includes(wanted)) throw new SystemError(EADDRINUSE, 'bind');
      const chosen = wanted === 0 ? 40_000 + held.size : wanted;
      held.add(chosen);
      return { port: chosen, release: () => held.delete(chosen) };
    },
    () => 'process 812 (nginx)',
  );
  return { table, held };
}

test('claim() takes all ports or none and names the holder', () => {
  const { table, held } = makeTable({ busy: [443] });
  table.claim('a', 'Container default/a', [port(80)]);
  assert.throws(() => table.claim('b', 'b', [port(81), port(80)]), {
    reason: 'AlreadyExists',
    message: 'port 80/TCP is taken by Container default/a',
  });
  assert.throws(() => table.claim('b', 'b', [port(81), port(443, '127.0.0.1')]), {
    message: 'port 127.0.0.1:443/TCP is taken by process 812 (nginx)',
  });
  assert.deepEqual([...held], [80]);
});

test('claim() tells addresses and protocols apart, but every address covers each', () => {
  const { table } = makeTable();
  table.claim('a', 'a', [port(80, '127.0.0.1')]);
  table.claim('b', 'b', [port(80, '192.0.2.1'), port(80, '', 'UDP')]);
  assert.throws(() => table.claim('c', 'c', [port(80)]), { reason: 'AlreadyExists' });
  assert.throws(() => table.claim('c', 'c', [port(80, '192.0.2.9', 'UDP')]), { reason: 'AlreadyExists' });
});

test('claim() chooses a port for 0 and keeps what the holder has', () => {
  const { table, held } = makeTable();
  const [chosen] = table.claim('a', 'a', [port(0)]);
  assert.equal(chosen?.hostPort, 40_000);
  assert.deepEqual(
    table.claim('a', 'a', [port(40_000), port(80)]).map(({ hostPort }) => hostPort),
    [40_000, 80],
  );
  table.release('a', [port(80)]);
  assert.deepEqual([...held], [80]);
  table.release('a');
  assert.equal(held.size, 0);
});

test('reclaim() reports a port that was taken meanwhile and keeps the claim', () => {
  const { table } = makeTable({ busy: [80] });
  assert.equal(table.reclaim('a', 'Container default/a', [port(80)]).length, 1);
  assert.throws(() => table.claim('b', 'b', [port(80)]), /taken by Container default\/a/);
});

test('socketInodes() finds bound sockets by port and leaves connections out', () => {
  const table = [
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
    '   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100 0 0 10 0',
    '   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 999 1 0 20 4 30 10 -1',
    '   2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0 100 0 0 10 0',
  ].join('\n');
  assert.deepEqual(socketInodes(table, 8080), ['12345']);
  assert.deepEqual(socketInodes(table, 80), ['777']);
  assert.deepEqual(socketInodes(table, 8), []);
});

test('claim() takes a port on every address of IPv6 too for who has such an address, and gives both back', () => {
  const held = new Set<string>();
  const table = createPortTable(
    (_protocol, ip, wanted) => {
      const key = `${ip} ${wanted || 40_000}`;
      held.add(key);
      return { port: wanted || 40_000, release: () => held.delete(key) };
    },
    () => undefined,
  );
  table.claim('a', 'a', [port(80)]);
  assert.deepEqual([...held], ['0.0.0.0 80']);
  table.claim('a', 'a', [port(80)], true);
  assert.deepEqual([...held], ['0.0.0.0 80', ':: 80'], 'what it has is kept');
  table.claim('b', 'b', [port(0), port(81, 'fd00::1')], true);
  assert.deepEqual([...held].slice(2), ['0.0.0.0 40000', ':: 40000', 'fd00::1 81']);
  for (const holder of ['a', 'b']) table.release(holder);
  assert.equal(held.size, 0);
});

test('claim() tells the families apart', () => {
  const { table } = makeTable();
  table.claim('a', 'a', [port(80, '0.0.0.0'), port(81, '::')]);
  table.claim('b', 'b', [port(80, 'fd00::1'), port(81, '192.0.2.1')]);
  for (const [taken, by] of [
    [port(80, '192.0.2.1'), 'a'],
    [port(81, 'fd00::1'), 'a'],
    [port(80, '::'), 'b'],
    [port(81), 'a'],
  ] as const)
    assert.throws(() => table.claim('c', 'c', [taken]), {
      reason: 'AlreadyExists',
      details: { holder: by, port: taken.hostPort },
    });
});
