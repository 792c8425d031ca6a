// Logs of real containers: rotation below a reader, the run before, the end of a follower.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { realNodeOfFile } from '../../support/real-node.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

const node = realNodeOfFile();
function logFiles(name: string): string[] {
  const pods = join(node().home, 'pods');
  const own = readdirSync(pods).find((folder) => folder.startsWith(`default_${name}_`)) ?? '';
  return readdirSync(join(pods, own, name)).toSorted();
}
const lines = (from: number, to: number): string =>
  Array.from({ length: to - from + 1 }, (_, index) => `line ${from + index}\n`).join('');

test('a rotated log is read as one, followed across the rotation, and kept for --previous', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'runc', 'conmon', 'kubectl')) return;
  const part = (from: number, to: number): string => `for i in $(seq ${from} ${to}); do echo line $i; done`;
  const script = [part(1, 300), 'until [ -e /go ]; do sleep 0.05; done', part(301, 400), 'exec sleep 1000'].join('; ');
  await node().make('talker', `args: [sh, -c, '${script}'], logging: { maxSize: 4Ki, maxFiles: 20 }`);
  await node().reach('talker', /^Running$/);
  const follower = node().kubectl(['logs', '-f', 'talker'], { timeoutMs: 60_000 });
  await waitFor(() => logFiles('talker').length === 2, { timeoutMs: 25_000, what: 'the rotation' });
  assert.equal(await node().kubectlOk(['logs', 'talker']), lines(1, 300));
  await node().sh('talker', 'touch /go');
  await waitFor(async () => (await node().kubectlOk(['logs', 'talker'])) === lines(1, 400), { timeoutMs: 10_000 });
  assert.equal(await node().kubectlOk(['logs', 'talker', '--tail=150']), lines(251, 400));
  assert.equal(await node().kubectlOk(['logs', 'talker', '--tail=3']), lines(398, 400));
  const id = await node().status('talker', 'containerID');
  await node().patch('talker', { restartedAt: '2026-11-23T12:00:00Z' });
  assert.deepEqual(await follower.then(({ stdout, code }) => [stdout, code]), [lines(1, 400), 0]);
  await node().reachOther('talker', id);
  assert.equal(await node().kubectlOk(['logs', 'talker', '--previous']), lines(1, 400));
  await node().remove('talker');
  assert.deepEqual(readdirSync(join(node().home, 'pods')), []);
});

test('logs -f ends at once with the container', async (t) => {
  if (!requireRoot(t)) return;
  await node().make('brief', `args: [sh, -c, 'echo one; until [ -e /go ]; do sleep 0.02; done'], restartPolicy: Never`);
  await node().reach('brief', /^Running$/);
  const follower = node()
    .kubectl(['logs', '-f', 'brief'])
    .then((result) => ({ ...result, atMs: Date.now() }));
  await node().sh('brief', 'touch /go');
  await node().reach('brief', /^Completed$/);
  const { stdout, atMs } = await follower;
  assert.equal(stdout, 'one\n');
  const finishedMs = Date.parse(await node().status('brief', 'finishedAt'));
  // finishedAt is in whole seconds.
  assert.ok(atMs - finishedMs < 1800, `${atMs - finishedMs} ms`);
  await node().remove('brief');
});
