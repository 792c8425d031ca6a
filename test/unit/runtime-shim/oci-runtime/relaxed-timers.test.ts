import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { readTimerSlack, setTimerSlack } from '../../../../runtime-shim/host/timer-slack.ts';
import { createRelaxedTimers } from '../../../../runtime-shim/oci-runtime/relaxed-timers.ts';
import { requireRoot } from '../../../support/require.ts';

test('a relaxed program and what it starts are woken late, until they get the timers of this process', async (t) => {
  if (!requireRoot(t)) return;
  const shell = spawn('/bin/sh', ['-c', 'read line; sleep 1000 & echo $!; wait'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const own = readTimerSlack('self');
  const pid = shell.pid ?? 0;
  const timers = createRelaxedTimers();
  timers.relax(pid);
  assert.equal(readTimerSlack(pid), 1_000_000);
  shell.stdin.write('go\n');
  const [child] = (await once(shell.stdout, 'data')) as [Buffer];
  assert.equal(readTimerSlack(Number(child)), 1_000_000);
  for (const one of [pid, Number(child)]) timers.restore(one);
  assert.deepEqual([readTimerSlack(pid), readTimerSlack(Number(child))], [own, own]);
  shell.kill('SIGKILL');
  process.kill(Number(child), 'SIGKILL');
  await once(shell, 'exit');
  for (const change of [timers.relax, timers.restore]) change(pid);
  assert.equal(setTimerSlack(pid, 1), false);
});

test('timers that nobody relaxed are left as they are', async (t) => {
  if (!requireRoot(t)) return;
  const program = spawn('/bin/cat', { stdio: ['pipe', 'ignore', 'inherit'] });
  const pid = program.pid ?? 0;
  setTimerSlack(pid, 70_000);
  createRelaxedTimers().restore(pid);
  assert.equal(readTimerSlack(pid), 70_000);
  program.stdin.end();
  await once(program, 'exit');
});
