// SIGKILL to everything that is not the shim: the container's first process, conmon, the OCI runtime in the middle of a
// creation. (test/integration/shim/kill-points.test.ts kills the shim itself.)
import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { paths } from '../../../lib/instance.ts';
import { findProgram } from '../../../runtime-shim/oci-runtime/runtime.ts';
import type { ContainerRecord } from '../../../runtime-shim/store/records.ts';
import { equalsSnapshot, takeEmptySnapshot } from '../../support/snapshot-check.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';
import { waitFor } from '../../support/wait.ts';

export function readRecord({ instance }: TestShim, id: string): ContainerRecord {
  const file = join(paths.shimState(instance), 'containers', `${id}.json`);
  return JSON.parse(readFileSync(file, 'utf8')) as ContainerRecord;
}

/** Runs `life` twice and compares what the host has after each: folders appear at their first use. */
async function leavesNothing(shim: TestShim, life: (name: string) => Promise<void>): Promise<void> {
  await life('first');
  const before = await takeEmptySnapshot(shim.instance);
  await life('second');
  await equalsSnapshot(shim.instance, before);
}

async function removeAll({ cri }: TestShim): Promise<void> {
  const { items } = await cri.runtime.listPodSandbox({});
  for (const { id } of items) await cri.runtime.removePodSandbox({ podSandboxId: id });
}

test('a first process killed from outside is 137, a lost conmon 255; nothing of either is left', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon')) return;
  await using shim = await startTestShim({ sandboxPool: 0 });
  await leavesNothing(shim, async (name) => {
    const killed = await shim.run(`${name}-init`, { command: ['sleep', '1000'] });
    const orphan = await shim.run(`${name}-conmon`, { command: ['sh', '-c', 'sleep 1000 & exec sleep 1000'] });
    const waiting = await shim.create(await shim.runSandbox(`${name}-created`), { command: ['sleep', '1000'] });
    process.kill(readRecord(shim, killed).init?.pid ?? 0, 'SIGKILL');
    for (const id of [orphan, waiting]) process.kill(readRecord(shim, id).conmon?.pid ?? 0, 'SIGKILL');
    const ends = await Promise.all([killed, orphan, waiting].map((id) => shim.waitForExit(id)));
    assert.deepEqual(
      ends.map(({ exitCode, reason }) => [exitCode, reason]),
      [
        [137, 'Error'],
        [255, 'Error'],
        [255, 'Error'],
      ],
    );
    await removeAll(shim);
  });
});

/** A program that stands for the OCI runtime `real` and does `onCreate` (shell) instead of its create. */
function writeRuntime(file: string, real: string, onCreate: string): void {
  const script = `#!/bin/sh
for word; do
  if [ "$word" = create ]; then
    ${onCreate}
  fi
done
exec ${real} "$@"
`;
  writeFileSync(file, script);
  chmodSync(file, 0o755);
}

for (const kind of ['runc', 'crun'] as const) {
  test(`${kind} killed in the middle of create: the call fails, its retry succeeds, nothing is left`, async (t) => {
    if (!requireRoot(t) || !requirePrograms(t, kind, 'conmon')) return;
    let [runtime, flag] = ['', ''];
    await using shim = await startTestShim({
      sandboxPool: 0,
      prepare(root) {
        [runtime, flag] = [join(root, kind), join(root, 'kill')];
        // As soon as the runtime has made its state folder, it dies.
        const kill = `if [ -e ${flag} ]; then
          ${findProgram(kind)} "$@" & pid=$!
          while [ ! -e ${join(root, 'run/shim/runtime')}/*/* ]; do kill -0 $pid || break; done
          kill -9 $pid; wait $pid; exit 1
        fi`;
        writeRuntime(runtime, findProgram(kind) ?? kind, kill);
      },
      flags: () => ['--oci-runtime', runtime],
    });
    await leavesNothing(shim, async (name) => {
      const sandbox = await shim.runSandbox(name);
      writeFileSync(flag, '');
      await assert.rejects(shim.create(sandbox, { command: ['sleep', '1000'] }), { reason: 'Internal' });
      assert.deepEqual((await shim.cri.runtime.listContainers({})).containers, []);
      rmSync(flag);
      const containerId = await shim.create(sandbox, { command: ['sleep', '1000'] });
      await shim.cri.runtime.startContainer({ containerId });
      assert.equal((await shim.status(containerId)).state, 'CONTAINER_RUNNING');
      await removeAll(shim);
    });
  });
}

test('a shim that comes back while conmon still creates makes an end of it first', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'runc', 'conmon')) return;
  let [runtime, begun, go] = ['', '', ''];
  await using shim = await startTestShim({
    sandboxPool: 0,
    prepare(root) {
      [runtime, begun, go] = [join(root, 'runc'), join(root, 'begun'), join(root, 'go')];
      // It stands still in the middle of its work, and goes on when the next shim has long cleared up.
      const halt = `${findProgram('runc')} "$@" & pid=$!
        while [ ! -e ${join(root, 'run/shim/runtime')}/*/* ]; do kill -0 $pid || break; done
        kill -STOP $pid; touch ${begun}
        while [ ! -e ${go} ]; do sleep 0.02; done
        kill -CONT $pid; wait $pid; exit $?`;
      writeRuntime(runtime, findProgram('runc') ?? '', halt);
    },
    flags: () => ['--oci-runtime', runtime],
  });
  await leavesNothing(shim, async (name) => {
    for (const file of [begun, go]) rmSync(file, { force: true });
    const sandbox = await shim.runSandbox(name);
    const creating = shim.create(sandbox, { command: ['sleep', '1000'] }).catch(() => 'cut off');
    await waitFor(() => existsSync(begun), { what: 'the OCI runtime at work' });
    await shim.kill();
    assert.equal(await creating, 'cut off');
    await shim.start();
    writeFileSync(go, '');
    assert.deepEqual((await shim.cri.runtime.listContainers({})).containers, []);
    const containerId = await shim.create(sandbox, { command: ['sleep', '1000'] });
    assert.equal((await shim.status(containerId)).state, 'CONTAINER_CREATED');
    await removeAll(shim);
  });
});

test('a program that a killed shim was running in a container is ended when the next one starts', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon')) return;
  await using shim = await startTestShim({ sandboxPool: 0 });
  const containerId = await shim.run('exec', { command: ['sleep', '1000'] });
  const running = shim.exec(containerId, 'sh', '-c', 'sleep 777 & sleep 778').catch(() => 'cut off');
  await waitFor(async () => (await shim.exec(containerId, 'ps', '-o', 'args')).includes('sleep 778'), {
    what: 'the program',
  });
  await shim.kill();
  assert.equal(await running, 'cut off');
  await shim.start();
  assert.doesNotMatch(await shim.exec(containerId, 'ps', '-o', 'args'), /77[78]/);
  assert.equal((await shim.status(containerId)).state, 'CONTAINER_RUNNING');
});
