// Containers that misbehave: fork without end, write without end, ignore what they are told. The shim, conmon and the
// other containers go on, and what a bad container leaves is nothing.
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { paths } from '../../../lib/instance.ts';
import type { ContainerRecord } from '../../../runtime-shim/store/records.ts';
import type { OwnSnapshot } from '../../support/host-snapshot.ts';
import { equalsSnapshot, takeEmptySnapshot } from '../../support/snapshot-check.ts';
import { requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';
import { waitFor } from '../../support/wait.ts';

let shim: TestShim;
let clean: OwnSnapshot;
const isRoot = process.getuid?.() === 0;
before(async () => {
  if (!isRoot) return;
  shim = await startTestShim({ sandboxPool: 0 });
  await shim.run('first', { command: ['true'] });
  await removeAll();
  clean = await takeEmptySnapshot(shim.instance);
});
after(async () => {
  if (isRoot) await shim[Symbol.asyncDispose]();
});

async function removeAll(): Promise<void> {
  const { items } = await shim.cri.runtime.listPodSandbox({});
  for (const { id } of items) await shim.cri.runtime.removePodSandbox({ podSandboxId: id });
}

/** Removes everything and compares the host with what it was. */
async function leavesNothing(): Promise<void> {
  await removeAll();
  await equalsSnapshot(shim.instance, clean);
}

function readRecord(id: string): ContainerRecord {
  const file = join(paths.shimState(shim.instance), 'containers', `${id}.json`);
  return JSON.parse(readFileSync(file, 'utf8')) as ContainerRecord;
}

const residentKib = (pid: number | undefined): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

test('memory runs out for the container alone: conmon is not in its group and tells the end', async (t) => {
  if (!requireRoot(t)) return;
  const linux = { resources: { memoryLimitInBytes: 16 * 2 ** 20 } };
  const eater = 'dd if=/dev/zero of=/dev/null bs=60M';
  // The child dies of it, the first process does not and says so.
  const survivor = await shim.run('survivor', { command: ['sh', '-c', `${eater}; echo $?; exec sleep 1000`], linux });
  const { conmon, init } = readRecord(survivor);
  const groupOf = (pid: number | undefined): string => readFileSync(`/proc/${pid}/cgroup`, 'utf8');
  assert.ok(groupOf(init?.pid).includes(survivor) && !groupOf(conmon?.pid).includes(survivor));
  await waitFor(async () => (await shim.readLog(survivor)).includes('137'), { what: 'the end of the child' });
  assert.equal((await shim.status(survivor)).state, 'CONTAINER_RUNNING');
  const victim = await shim.run('oom', { command: ['sh', '-c', `exec ${eater}`], linux });
  const { exitCode, reason } = await shim.waitForExit(victim);
  assert.deepEqual([exitCode, reason], [137, 'OOMKilled']);
  await leavesNothing();
});

test('a fork bomb stays within its limit, others run, and it is stopped and removed', async (t) => {
  if (!requireRoot(t)) return;
  const bomb = await shim.run('bomb', {
    // A shell that cannot fork ends, so the others take its place for ever. The first process is none of them.
    command: ['sh', '-c', 'bomb() { while true; do bomb & done; }; bomb & exec sleep 1000'],
    linux: { resources: { cpuQuota: 50_000, cpuPeriod: 100_000 } },
    annotations: { 'runtime.windlass.dev/pids-limit': '60' },
  });
  // How often the kernel refused a fork: it can be over within milliseconds.
  const refused = (): number =>
    globSync(`/sys/fs/cgroup/**/${bomb}/pids.events`).reduce(
      (sum, file) => sum + Number(/^max (\d+)/m.exec(readFileSync(file, 'utf8'))?.[1] ?? 0),
      0,
    );
  await waitFor(() => refused() > 0, { what: 'the bomb', timeoutMs: 60_000 });
  const other = await shim.run('other', { command: ['sh', '-c', 'echo alive; exec sleep 1000'] });
  await waitFor(async () => (await shim.readLog(other)).includes('alive'));
  await shim.cri.runtime.stopContainer({ containerId: bomb, timeout: 1 });
  assert.equal((await shim.status(bomb)).exitCode, 137);
  await leavesNothing();
});

test('a flood of log lines is rotated by a shim that is killed in between: every line is in one of the files', async (t) => {
  if (!requireRoot(t)) return;
  const containerId = await shim.run('flood', {
    command: ['sh', '-c', 'n=0; while [ ! -e /tmp/stop ]; do n=$((n + 1)); echo $n; done; echo end; exec sleep 1000'],
  });
  const { logPath } = await shim.status(containerId);
  const rotated: string[] = [];
  for (let round = 1; round <= 3; round += 1) {
    await waitFor(() => (statSync(logPath, { throwIfNoEntry: false })?.size ?? 0) > 0, { what: 'output' });
    rotated.push(`${logPath}.${round}`);
    renameSync(logPath, `${logPath}.${round}`);
    if (round === 2) {
      await shim.kill();
      await shim.start();
    }
    await shim.cri.runtime.reopenContainerLog({ containerId });
    assert.ok(existsSync(logPath), 'the new file is there when the call returns');
  }
  await shim.exec(containerId, 'touch', '/tmp/stop');
  const read = () => [...rotated, logPath].flatMap((file) => readFileSync(file, 'utf8').split('\n').filter(Boolean));
  await waitFor(() => read().at(-1)?.endsWith('end'), { what: 'the last line', timeoutMs: 20_000 });
  // A piece (P) is continued by the next line, in the next file if need be.
  const texts = read()
    .map((line) => /^\S+ stdout ([FP]) (\w*)$/.exec(line))
    .map((match) => (match ? `${match[2]}${match[1] === 'F' ? '\n' : ''}` : '?\n'))
    .join('')
    .trimEnd()
    .split('\n');
  const firstWrong = texts.findIndex((text, index) => text !== String(index + 1));
  assert.deepEqual([firstWrong, texts[firstWrong]], [texts.length - 1, 'end']);
  await leavesNothing();
});

test('a line of 20 MB without an end is kept in pieces, and takes memory of neither the shim nor conmon', async (t) => {
  if (!requireRoot(t)) return;
  const size = 20_000_000;
  const before = residentKib(shim.process.pid);
  const containerId = await shim.run('long-line', {
    command: ['sh', '-c', `head -c ${size} /dev/zero | tr '\\0' x; sleep 1000`],
  });
  const { logPath } = await shim.status(containerId);
  const read = () => readFileSync(logPath, 'utf8').split('\n').filter(Boolean);
  const lengthOf = (line: string): number => line.length - (line.indexOf(' P ') + 3);
  await waitFor(() => statSync(logPath).size > size && read().reduce((sum, line) => sum + lengthOf(line), 0) === size, {
    what: 'the whole line',
    timeoutMs: 20_000,
    intervalMs: 200,
  });
  assert.ok(read().every((line) => /^\S+ stdout P x+$/.test(line) && line.length < 20_000));
  assert.ok(residentKib(shim.process.pid) - before < 20_000, 'memory of the shim');
  assert.ok(residentKib(readRecord(containerId).conmon?.pid) < 10_000, 'memory of conmon');
  await leavesNothing();
});

test('what ignores its stop signal, is stopped by SIGSTOP or paused is killed after the grace', async (t) => {
  if (!requireRoot(t)) return;
  const deaf = await shim.run('deaf', {
    command: ['sh', '-c', 'trap "" TERM INT HUP; while true; do sleep 0.1; done'],
  });
  const halted = await shim.run('halted', { command: ['sleep', '1000'] });
  process.kill(readRecord(halted).init?.pid ?? 0, 'SIGSTOP');
  const paused = await shim.run('paused', { command: ['sh', '-c', 'trap "" TERM; while true; do sleep 0.1; done'] });
  await shim.cri.node.pauseContainer({ containerId: paused });
  await Promise.all(
    [deaf, halted, paused].map((containerId) => shim.cri.runtime.stopContainer({ containerId, timeout: 1 })),
  );
  for (const id of [deaf, halted, paused]) assert.equal((await shim.status(id)).exitCode, 137);
  await leavesNothing();
});

test('a process in uninterruptible sleep holds up its own container only', (t) => {
  t.skip('a process in state D cannot be made without a broken device or file system');
});
