import assert from 'node:assert/strict';
import test from 'node:test';
import type { ComponentStatus } from '../../../cli/machine.ts';
import { serverSteps, shellWord } from '../../../cli/next-steps.ts';
import { createOutput } from '../../../cli/output.ts';
import { createProgress, type Progress } from '../../../cli/progress.ts';
import { describeInstance } from '../../../lib/instance.ts';

const instance = describeInstance('/srv/w', '/run/w');

/** A progress and everything it wrote to stderr. */
function open({ isTTY = false, env = {} }: { isTTY?: boolean; env?: Record<string, string> } = {}): {
  progress: Progress;
  text: () => string;
} {
  let written = '';
  const stream = { isTTY, write: (chunk: string) => (written += chunk) } as unknown as NodeJS.WriteStream;
  const output = createOutput({ stdout: stream, stderr: stream, env });
  const progress = createProgress(output, { instance, nextSteps: serverSteps(instance, 'https://127.0.0.1:6443') });
  return { progress, text: () => written };
}

const status = (name: ComponentStatus['name'], rest: Partial<ComponentStatus> = {}): ComponentStatus => ({
  name,
  state: 'starting',
  detail: 'starting',
  restarts: 0,
  ...rest,
});
const ready = (name: ComponentStatus['name'], pid: number): ComponentStatus =>
  status(name, { state: 'ready', detail: 'ready in 0.1 s', process: { pid, startTime: 1 } });

test('progress says what to do next after the lines of all components, however they come', () => {
  const { progress, text } = open();
  progress.show([status('etcd'), status('apiserver')], () => []);
  assert.equal(text(), '');
  assert.equal(progress.isReady(), false);
  progress.show([ready('etcd', 7), ready('apiserver', 8)], () => []);
  const lines = text().split('\n');
  assert.deepEqual(lines.slice(0, 3), [
    '✔ etcd           ready in 0.1 s, process 7',
    '✔ apiserver      ready in 0.1 s, process 8',
    '',
  ]);
  assert.match(lines[3] ?? '', /^Ready after [\d.]+ s\.$/);
  assert.match(text(), /kubeconfig {3}\/srv\/w\/admin.kubeconfig/);
  assert.equal(progress.isReady(), true);
});

test('progress shows each change once, in plain lines without control characters where there is no terminal', () => {
  const { progress, text } = open();
  const broken = status('etcd', { state: 'restarting', detail: 'etcd ended with exit code 1; next try in 100 ms' });
  for (let times = 0; times < 3; times += 1) progress.show([broken], () => ['no space left']);
  assert.equal(text(), '✘ etcd           etcd ended with exit code 1; next try in 100 ms\n    no space left\n');
});

test('progress rewrites the last line of a terminal with what is being waited for', () => {
  const { progress, text } = open({ isTTY: true, env: { NO_COLOR: '1' } });
  progress.show([status('etcd', { detail: 'has no leader yet' }), status('apiserver')], () => []);
  progress.show([ready('etcd', 7), status('apiserver')], () => []);
  assert.equal(
    text(),
    [
      '… etcd           has no leader yet',
      '\r\u001b[2K✔ etcd           ready in 0.1 s, process 7\n',
      '… apiserver      starting',
    ].join(''),
  );
});

test('progress uses colour on a terminal, unless NO_COLOR or TERM=dumb says no', () => {
  const shown = (isTTY: boolean, env: Record<string, string>): string => {
    const { progress, text } = open({ isTTY, env });
    progress.show([ready('etcd', 7), status('apiserver')], () => []);
    return text();
  };
  const escape = '\u001b[';
  assert.ok(shown(true, {}).includes(`${escape}32m✔`));
  assert.ok(!shown(true, { NO_COLOR: '1' }).includes(`${escape}3`));
  assert.ok(!shown(true, { TERM: 'dumb' }).includes(escape));
  assert.ok(!shown(false, {}).includes(escape));
});

test('shellWord() quotes a path that a shell would take apart', () => {
  assert.deepEqual(['/srv/w/admin.kubeconfig', '/srv/a b', "/srv/it's"].map(shellWord), [
    '/srv/w/admin.kubeconfig',
    "'/srv/a b'",
    "'/srv/it'\\''s'",
  ]);
});
