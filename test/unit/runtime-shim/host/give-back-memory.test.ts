import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cleanFileMappings } from '../../../../runtime-shim/host/give-back-memory.ts';
import { readKernelText } from '../../../../lib/kernel-file.ts';

const block = (range: string, rights: string, inode: string, path: string, dirtyKb = 0): string =>
  `${range} ${rights} 00000000 fe:00 ${inode}    ${path}\nRss: 8 kB\nPrivate_Dirty:        ${dirtyKb} kB\nAnonymous:            ${dirtyKb} kB\nSwap:                  0 kB`;

test('cleanFileMappings() finds what the kernel can read again, and nothing else', () => {
  const smaps = [
    block('00400000-00746000', 'r--p', '7', '/usr/bin/node'),
    block('0074a000-03044000', 'r-xp', '7', '/usr/bin/node'),
    block('03201000-06b51000', 'r--p', '7', '/usr/bin/node (relocated)', 4),
    block('06b51000-06b61000', 'rw-p', '7', '/usr/bin/node'),
    block('31bf3000-32500000', 'rw-p', '0', '[heap]'),
    block('7f0000000000-7f0000001000', 'r-xp', '0', '[vdso]'),
    block('7f0000001000-7f0000002000', 'r--s', '9', '/run/shared'),
  ].join('\n');
  assert.deepEqual(
    cleanFileMappings(smaps).map(({ start, end }) => [start.toString(16), end.toString(16)]),
    [
      ['400000', '746000'],
      ['74a000', '3044000'],
    ],
  );
});

test('cleanFileMappings() finds the program of this process', async () => {
  assert.ok(cleanFileMappings(readKernelText('/proc/self/smaps')).length > 0);
});
