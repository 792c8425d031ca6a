// Pids are recycled. Records that name processes which are gone, and whose pids strangers have now, must never lead to a
// signal, a namespace or a number of the strangers'.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { paths } from '../../../lib/instance.ts';
import { identifyProcess, isRunning } from '../../../lib/process-identity.ts';
import type { ContainerRecord } from '../../../runtime-shim/store/records.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';
import { waitFor } from '../../support/wait.ts';

const sleeping = { command: ['sleep', '1000'] };

const recordFile = ({ instance }: TestShim, id: string): string =>
  join(paths.shimState(instance), 'containers', `${id}.json`);

const readRecord = (shim: TestShim, id: string): ContainerRecord =>
  JSON.parse(readFileSync(recordFile(shim, id), 'utf8')) as ContainerRecord;

/** A process of nobody's concern; `isUnharmed` tells whether it got any signal. */
function startVictim(t: TestContext): { pid: number; isUnharmed: () => boolean } {
  const child: ChildProcess = spawn('sleep', ['1000'], { stdio: 'ignore' });
  t.after(() => child.kill('SIGKILL'));
  const pid = child.pid ?? 0;
  return { pid, isUnharmed: () => child.exitCode === null && child.signalCode === null && !isStopped(pid) };
}

const isStopped = (pid: number): boolean => /\) T /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));

/** A victim that has exactly this pid: the kernel is told which pid it gave out last. */
async function startVictimAt(t: TestContext, pid: number): Promise<ReturnType<typeof startVictim> | undefined> {
  for (let tries = 0; tries < 20; tries += 1) {
    // Somebody else was faster: most processes are gone again at once.
    const isFree = (): boolean => !existsSync(`/proc/${pid}`);
    if (!(await waitFor(isFree, { timeoutMs: 1_000 }).catch(() => false))) return undefined;
    writeFileSync('/proc/sys/kernel/ns_last_pid', String(pid - 1));
    const victim = startVictim(t);
    if (victim.pid === pid) return victim;
  }
  return undefined;
}

test('processes that have the pids of a container and its conmon by now are left alone', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon')) return;
  await using shim = await startTestShim();
  const ids = await Promise.all(['stop', 'remove', 'look'].map((name) => shim.run(name, sleeping)));
  const records = ids.map((id) => readRecord(shim, id));
  await shim.kill();
  const victims: ReturnType<typeof startVictim>[] = [];
  for (const { init, conmon } of records) {
    for (const identity of [conmon, init]) {
      assert.ok(identity);
      process.kill(identity.pid, 'SIGKILL');
      // Until somebody has reaped it, its pid is not free.
      await waitFor(() => !existsSync(`/proc/${identity.pid}`), { what: 'the end of the process' });
    }
    for (const identity of [conmon, init]) {
      const victim = await startVictimAt(t, identity?.pid ?? 0);
      if (victim) victims.push(victim);
    }
  }
  if (victims.length < 4) return t.skip('the kernel does not give out the pids that are asked for');
  await shim.start();
  const [stop = '', remove = '', look = ''] = ids;
  await shim.cri.runtime.stopContainer({ containerId: stop, timeout: 1 });
  await shim.cri.runtime.removeContainer({ containerId: remove });
  await assert.rejects(shim.exec(look, 'true'));
  for (const id of [stop, look]) {
    const { exitCode, message } = await shim.waitForExit(id);
    assert.equal(exitCode, 255);
    assert.match(message, /conmon/);
  }
  const { items } = await shim.cri.runtime.listPodSandbox({});
  for (const { id } of items) await shim.cri.runtime.removePodSandbox({ podSandboxId: id });
  assert.deepEqual(
    victims.map(({ isUnharmed }) => isUnharmed()),
    victims.map(() => true),
  );
});

test('a record whose first process is a stranger by start time leads to no signal, namespace or count of it', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon')) return;
  await using shim = await startTestShim();
  const victim = startVictim(t);
  const sandbox = await shim.runSandbox('stale');
  const shared = {
    linux: { securityContext: { namespaceOptions: { network: 'POD', pid: 'POD', ipc: 'POD' } } },
  } as const;
  const containerId = await shim.create(sandbox, { ...sleeping, ...shared });
  await shim.cri.runtime.startContainer({ containerId });
  await shim.kill();
  const record = readRecord(shim, containerId);
  const own = identifyProcess(victim.pid);
  writeFileSync(
    recordFile(shim, containerId),
    JSON.stringify({ ...record, init: { pid: victim.pid, startTime: (own?.startTime ?? 0) + 1 } }),
  );
  await shim.start();
  assert.equal((await shim.status(containerId)).state, 'CONTAINER_RUNNING');
  const { stats } = await shim.cri.runtime.podSandboxStats({ podSandboxId: sandbox });
  assert.deepEqual(stats?.linux?.network?.interfaces ?? [], []);
  await shim.cri.runtime.updateContainerResources({ containerId, linux: { memoryLimitInBytes: 32 * 2 ** 20 } });
  const second = await shim.create(sandbox, { ...sleeping, ...shared, metadata: { name: 'second', attempt: 0 } });
  const { init } = readRecord(shim, second);
  const namespaceOf = (pid: number): string => readlinkSync(`/proc/${pid}/ns/pid`);
  assert.notEqual(namespaceOf(init?.pid ?? 0), namespaceOf(victim.pid));
  // The stop signal finds nobody; after the grace the control group is killed.
  await shim.cri.runtime.stopContainer({ containerId, timeout: 1 });
  assert.equal((await shim.status(containerId)).exitCode, 137);
  await shim.cri.runtime.removePodSandbox({ podSandboxId: sandbox });
  assert.ok(victim.isUnharmed() && own !== undefined && isRunning(own));
});
