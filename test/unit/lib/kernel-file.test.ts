import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { readKernelText } from '../../../lib/kernel-file.ts';

test('readKernelText() reads a long file of the kernel, whose size is said to be 0, to its end', () => {
  const path = '/proc/kallsyms';
  const text = readKernelText(path);
  assert.ok(text.length > 64 * 1024);
  assert.equal(text, execFileSync('cat', [path], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 }));
});
