import assert from 'node:assert/strict';
import test from 'node:test';
import { failedStartCode } from '../../../../runtime-shim/streaming/failed-start.ts';

const line = (level: string, msg: string): string => `${JSON.stringify({ level, msg, time: 'now' })}\n`;

test('failedStartCode() tells a missing program from one that may not be run, and both from a program that failed', () => {
  assert.equal(failedStartCode(line('error', 'exec: "/x": stat /x: no such file or directory')), 127);
  assert.equal(failedStartCode(line('error', 'exec: "x": executable file not found in $PATH')), 127);
  assert.equal(failedStartCode(line('error', 'exec: "/etc": permission denied')), 126);
  assert.equal(failedStartCode(line('warning', 'cgroup v1 will go away')), undefined);
  assert.equal(failedStartCode(''), undefined);
});
