import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { paths } from '../../../lib/instance.ts';
import { runCommand } from '../../support/instance.ts';
import { requireRoot } from '../../support/require.ts';
import { startTestShim } from '../../support/shim.ts';
import { waitFor } from '../../support/wait.ts';

test('containers outlive a killed shim; exits that happened meanwhile are known afterwards', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim();
  const lasting = await shim.run('lasting', { command: ['sh', '-c', 'while true; do echo tick; sleep 0.05; done'] });
  const ending = await shim.run('ending', {
    command: ['sh', '-c', 'while [ ! -e /tmp/go ]; do sleep 0.05; done; exit 5'],
  });
  const created = await shim.create(await shim.runSandbox('created'), { command: ['sleep', '1000'] });
  const pidBefore = await shim.exec(lasting, 'readlink', '/proc/1/ns/pid');
  const root = (await shim.cri.runtime.containerStatus({ containerId: ending, verbose: true })).info['info'] ?? '{}';
  const { pid } = JSON.parse(root) as { pid: number };
  await shim.kill();
  writeFileSync(`/proc/${pid}/root/tmp/go`, '');
  await waitFor(() => existsSync(join(paths.shimState(shim.instance), 'exits', ending)), { what: 'the exit file' });
  await shim.start();
  assert.equal((await shim.waitForExit(ending)).exitCode, 5);
  assert.equal((await shim.status(lasting)).state, 'CONTAINER_RUNNING');
  assert.equal(await shim.exec(lasting, 'readlink', '/proc/1/ns/pid'), pidBefore);
  const { logPath } = await shim.status(lasting);
  const size = readFileSync(logPath).length;
  await waitFor(() => readFileSync(logPath).length > size, { what: 'more output' });
  await shim.cri.runtime.startContainer({ containerId: created });
  assert.equal((await shim.status(created)).state, 'CONTAINER_RUNNING');
  await shim.cri.runtime.stopContainer({ containerId: lasting, timeout: 0 });
  assert.equal((await shim.status(lasting)).exitCode, 137);
});

test('a shim killed in the middle of creations loses and doubles nothing', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim();
  for (let round = 0; round < 3; round += 1) {
    const names = [0, 1, 2].map((slot) => `crash-${round}-${slot}`);
    const running = names.map((name) => shim.run(name, { command: ['sleep', '1000'] }).catch(() => ''));
    await new Promise((resolve) => setTimeout(resolve, 20 + round * 60));
    await shim.kill();
    await Promise.all(running);
    await shim.start();
    for (const name of names) await shim.run(name, { command: ['sleep', '1000'] });
    const { items } = await shim.cri.runtime.listPodSandbox({});
    const { containers } = await shim.cri.runtime.listContainers({});
    const expected = (round + 1) * names.length;
    assert.deepEqual([items.length, containers.length], [expected, expected]);
    assert.ok(containers.every(({ state }) => state === 'CONTAINER_RUNNING'));
  }
});

test('a container whose conmon was killed is ended and says why', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim();
  const id = await shim.run('orphan', { command: ['sleep', '1000'] });
  const record = JSON.parse(readFileSync(join(paths.shimState(shim.instance), 'containers', `${id}.json`), 'utf8')) as {
    conmon: { pid: number };
    init: { pid: number };
  };
  process.kill(record.conmon.pid, 'SIGKILL');
  const status = await shim.waitForExit(id);
  assert.deepEqual([status.exitCode, status.reason], [255, 'Error']);
  assert.match(status.message, /conmon/);
  assert.ok(!existsSync(`/proc/${record.init.pid}/cwd`));
});

test('a second shim on the same run folder is refused', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim();
  const { home, run } = shim.instance;
  const second = await runCommand(process.execPath, ['runtime-shim/main.ts', '--home', home, '--run', run]);
  assert.equal(second.code, 1);
  assert.match(second.stderr, /another runtime shim/);
  assert.equal((await shim.cri.runtime.version({})).runtimeName, 'windlass');
});
