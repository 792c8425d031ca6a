// What a restart keeps and what it does not, with the real runtime: Docker's promise of the writable layer.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { describeInstance } from '../../../lib/instance.ts';
import { purgeInstance } from '../../../runtime-shim/purge.ts';
import { realNodeOfFile } from '../../support/real-node.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

const node = realNodeOfFile();
const layers = (): string[] => readdirSync(join(node().home, 'snapshots', 'containers'));
const count = 'echo run >> /runs; wc -l < /runs; ';

test('every kind of restart goes on with the files of the run before; another spec starts from the image', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'runc', 'conmon', 'kubectl')) return;
  await node().make('keep', `args: [sh, -c, '${count} exec sleep 1000']`);
  await node().reach('keep', /^Running$/);
  let id = await node().status('keep', 'containerID');
  const runs = async (): Promise<string> => node().sh('keep', 'wc -l < /runs');
  assert.equal(await runs(), '1');

  process.kill(await node().pidOf('keep'), 'SIGKILL');
  id = await node().reachOther('keep', id);
  assert.equal(await runs(), '2');
  assert.equal(await node().status('keep', 'lastTermination.exitCode'), '137');

  await node().patch('keep', { restartedAt: '2026-11-23T12:00:00Z' });
  id = await node().reachOther('keep', id);
  assert.equal(await runs(), '3');

  await node().patch('keep', { desiredState: 'Stopped' });
  await node().reach('keep', /^Stopped$/);
  await node().patch('keep', { desiredState: 'Running' });
  id = await node().reachOther('keep', id);
  assert.equal(await runs(), '4');

  const health = {
    exec: { command: ['test', '-e', '/healthy'] },
    intervalSeconds: 1,
    retries: 1,
    startPeriodSeconds: 0,
  };
  await node().patch('keep', { healthCheck: health });
  id = await node().reachOther('keep', id);
  assert.equal(await node().sh('keep', 'touch /healthy; wc -l < /runs'), '5');
  await node().reach('keep', /^Healthy$/);

  assert.equal(layers().length, 1);
  await node().patch('keep', { env: [{ name: 'A', value: 'b' }], healthCheck: null });
  await node().reachOther('keep', id);
  assert.equal(await runs(), '1');
  assert.equal(layers().length, 1);
  await node().remove('keep');
  assert.deepEqual(layers(), []);
});

test('a crash loop keeps its files, too', async (t) => {
  if (!requireRoot(t)) return;
  await node().make('loop', `restartPolicy: OnFailure, args: [sh, -c, '${count} [ $(wc -l < /runs) -ge 4 ]']`);
  await node().reach('loop', /^Completed$/);
  assert.equal(await node().status('loop', 'restartCount'), '3');
  assert.equal(await node().kubectlOk(['logs', 'loop']), '4\n');
  assert.equal(await node().kubectlOk(['logs', 'loop', '--previous']), '3\n');
  await node().remove('loop');
});

test('a sandbox that is lost takes no files with it; layers nobody wants go', async (t) => {
  if (!requireRoot(t)) return;
  await node().make('first', `args: [sh, -c, '${count} exec sleep 1000']`);
  await node().make('second', `args: [sh, -c, '${count} exec sleep 1000'], shareNamespaces: { network: first }`);
  await node().reach('second', /^Running$/);
  const id = await node().status('second', 'containerID');
  // The sandbox whose network it uses is replaced with the spec, so its own must be, too.
  await node().patch('first', { env: [{ name: 'A', value: 'b' }] });
  await node().reachOther('second', id);
  assert.equal(await node().sh('second', 'wc -l < /runs'), '2');
  assert.equal(await node().sh('first', 'wc -l < /runs'), '1');
  await node().kubectlOk(['delete', 'ctr', 'first', 'second', '--force', '--grace-period=0']);
  await waitFor(() => layers().length === 0, { timeoutMs: 20_000, what: 'the layers to go' });
  assert.ok(existsSync(join(node().home, 'snapshots', 'containers')));
});

test('files outlive a reboot: only the state folder is left, and it is enough', async (t) => {
  if (!requireRoot(t)) return;
  await node().make('boot', `args: [sh, -c, '${count} exec sleep 1000']`);
  await node().reach('boot', /^Running$/);
  const id = await node().status('boot', 'containerID');
  assert.equal((await node().windlass(['down'])).code, 0);
  await purgeInstance(describeInstance(node().home, node().run));
  rmSync(node().run, { recursive: true });
  await node().up();
  await node().reachOther('boot', id);
  assert.equal(await node().sh('boot', 'wc -l < /runs'), '2');
  await node().remove('boot');
  assert.deepEqual(layers(), []);
});

test('paused and unhealthy stay what they are when the agent is killed', async (t) => {
  if (!requireRoot(t)) return;
  await node().make('ice', `args: [sh, -c, 'while :; do echo tick; sleep 0.1; done']`);
  const check = 'healthCheck: { exec: { command: ["false"] }, intervalSeconds: 1, retries: 1 }, onUnhealthy: None';
  await node().make('ill', `args: [sleep, '1000'], ${check}`);
  await node().reach('ice', /^Running$/);
  const id = await node().status('ice', 'containerID');
  await node().patch('ice', { desiredState: 'Paused' });
  await node().reach('ice', /^Paused$/);
  await node().reach('ill', /^Unhealthy$/);
  const agent = (): number | undefined =>
    (
      JSON.parse(readFileSync(join(node().run, 'up.json'), 'utf8')) as {
        components: { name: string; state: string; process?: { pid: number } }[];
      }
    ).components.find(({ name, state }) => name === 'node-agent' && state === 'ready')?.process?.pid;
  const killed = agent();
  assert.ok(killed);
  process.kill(killed, 'SIGKILL');
  await waitFor(() => ![undefined, killed].includes(agent()), { timeoutMs: 30_000, what: 'the agent to come back' });
  await node().patch('ice', { priority: 1 });
  const isObserved = async (): Promise<boolean> => {
    const generation = await node().kubectlOk(['get', 'ctr', 'ice', '-o', 'jsonpath={.metadata.generation}']);
    return (await node().status('ice', 'observedGeneration')) === generation;
  };
  await waitFor(isObserved, { timeoutMs: 15_000, what: 'the new generation to be observed' });
  assert.deepEqual(
    [await node().status('ice', 'phase'), await node().status('ill', 'health.status')],
    ['Paused', 'Unhealthy'],
  );
  await node().patch('ice', { desiredState: 'Running' });
  await node().reach('ice', /^Running$/);
  assert.equal(await node().status('ice', 'containerID'), id);
  const ticks = async (): Promise<number> => (await node().kubectlOk(['logs', 'ice'])).length;
  const before = await ticks();
  await waitFor(async () => (await ticks()) > before, { timeoutMs: 10_000, what: 'the thawed process to go on' });
  await node().remove('ice', 'ill');
});
