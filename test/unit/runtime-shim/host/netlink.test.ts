import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deviceNumber } from '../../../../runtime-shim/host/file-nodes.ts';
import { SystemError } from '../../../../runtime-shim/host/libc.ts';
import { parseMountLine } from '../../../../runtime-shim/host/mount.ts';
import {
  decodeAttributes,
  decodeMessages,
  encodeAttributes,
  text,
  u32,
} from '../../../../runtime-shim/host/netlink.ts';
import { parseWaitStatus } from '../../../../runtime-shim/host/spawn.ts';

test('encodeAttributes() pads, nests, and decodeAttributes() reads it back', () => {
  const bytes = encodeAttributes([
    [3, text('eth0')],
    [18, [[1, text('veth')]]],
    [4, u32(1500)],
  ]);
  assert.equal(bytes.length % 4, 0);
  const attributes = decodeAttributes(bytes);
  assert.equal(attributes.get(3)?.toString(), 'eth0\0');
  assert.equal(attributes.get(4)?.readUInt32LE(0), 1500);
  assert.equal(
    decodeAttributes(attributes.get(18) ?? Buffer.alloc(0))
      .get(1)
      ?.toString(),
    'veth\0',
  );
});

test('decodeAttributes() and decodeMessages() end at a malformed length', () => {
  assert.equal(decodeAttributes(Buffer.of(2, 0, 1, 0, 9, 9, 9, 9)).size, 0);
  assert.equal(decodeAttributes(Buffer.of(99, 0, 1, 0, 9, 9, 9, 9)).size, 0);
  assert.deepEqual(decodeMessages(Buffer.alloc(16)), []);
  assert.deepEqual(decodeMessages(Buffer.concat([u32(4096), Buffer.alloc(12)])), []);
});

test('SystemError carries code, call and path', () => {
  const error = new SystemError(2, 'mount', '/mnt');
  assert.deepEqual([error.code, error.syscall, error.path], ['ENOENT', 'mount', '/mnt']);
  assert.equal(error.message, 'ENOENT: mount failed for /mnt');
});

test('parseMountLine() reads optional fields and octal escapes', () => {
  const entry = parseMountLine(
    '36 35 98:0 /mnt1 /mnt\\040two rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue',
  );
  assert.equal(entry.target, '/mnt two');
  assert.deepEqual(entry.propagation, ['master:1', 'shared:2']);
  assert.deepEqual([entry.fstype, entry.source, entry.superOptions], ['ext3', '/dev/root', ['rw', 'errors=continue']]);
});

test('parseWaitStatus() tells an exit code from a signal', () => {
  assert.deepEqual(parseWaitStatus(7 << 8), { code: 7, signal: undefined });
  assert.deepEqual(parseWaitStatus(9), { code: undefined, signal: 'SIGKILL' });
});

test('deviceNumber() is makedev()', () => {
  assert.equal(deviceNumber(1, 3), 0x103);
  assert.equal(deviceNumber(259, 1_000), Number((259n << 8n) | (1000n & 0xffn) | ((1000n & ~0xffn) << 12n)));
});
