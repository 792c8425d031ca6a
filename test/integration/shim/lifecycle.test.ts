import assert from 'node:assert/strict';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { kernelNames } from '../../../lib/instance.ts';
import { readTimerSlack } from '../../../runtime-shim/host/timer-slack.ts';
import { equalsSnapshot, takeEmptySnapshot } from '../../support/snapshot-check.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';
import { waitFor } from '../../support/wait.ts';

let shim: TestShim;
const isRoot = process.getuid?.() === 0;
before(async () => {
  if (isRoot) shim = await startTestShim();
});
after(async () => {
  if (isRoot) await shim[Symbol.asyncDispose]();
});

test('a container runs, logs in CRI format and ends with its exit code', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'runc', 'conmon')) return;
  const id = await shim.run('logs', { command: ['sh', '-c', 'echo out; echo err >&2; printf partial; exit 7'] });
  const status = await shim.waitForExit(id);
  assert.deepEqual([status.exitCode, status.reason], [7, 'Error']);
  assert.ok(status.finishedAt >= status.startedAt && status.startedAt >= status.createdAt && status.createdAt > 0);
  const text = readFileSync(status.logPath, 'utf8');
  for (const line of ['stdout F out', 'stderr F err', 'stdout P partial'])
    assert.match(text, new RegExp(`Z?[+0-9:.-]+ ${line}$`, 'm'));
  assert.equal((await shim.cri.images.imageStatus({ image: { image: status.imageId } })).image?.id, status.imageId);
});

test('an image without its program is refused at creation with the name of the program', async (t) => {
  if (!requireRoot(t)) return;
  const sandbox = await shim.runSandbox('no-program');
  await assert.rejects(shim.create(sandbox, { command: ['/no/such/program'] }), {
    reason: 'Invalid',
    message: /no\/such\/program/,
  });
  assert.deepEqual((await shim.cri.runtime.listContainers({ filter: { podSandboxId: sandbox } })).containers, []);
});

test('the timers of a container, of what it starts and of its monitor are as exact as those of the shim', async (t) => {
  if (!requireRoot(t)) return;
  const containerId = await shim.run('exact', { command: ['sh', '-c', 'sleep 1000 & wait'] });
  const { info } = await shim.cri.runtime.containerStatus({ containerId, verbose: true });
  const { pid, conmonPid } = JSON.parse(info['info'] ?? '') as { pid: number; conmonPid: number };
  const children = (): string => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  await waitFor(() => children() !== '', { what: 'the child' });
  const own = readTimerSlack('self');
  assert.deepEqual([pid, Number(children()), conmonPid].map(readTimerSlack), [own, own, own]);
});

test('stop sends the stop signal, then kills; stop and remove of what is gone succeed', async (t) => {
  if (!requireRoot(t)) return;
  const { runtime } = shim.cri;
  const polite = await shim.run('polite', {
    command: ['sh', '-c', 'trap "exit 3" TERM; echo ready; while true; do sleep 0.1; done'],
  });
  await waitFor(async () => (await shim.readLog(polite)).includes('ready'), { what: 'the trap' });
  await runtime.stopContainer({ containerId: polite, timeout: 10 });
  assert.equal((await shim.status(polite)).exitCode, 3);
  const stubborn = await shim.run('stubborn', {
    command: ['sh', '-c', 'trap "" TERM; while true; do sleep 0.1; done'],
  });
  await runtime.stopContainer({ containerId: stubborn, timeout: 1 });
  assert.deepEqual([(await shim.status(stubborn)).exitCode, (await shim.status(stubborn)).reason], [137, 'Error']);
  for (const containerId of [polite, stubborn, polite]) {
    await runtime.stopContainer({ containerId, timeout: 0 });
    await runtime.removeContainer({ containerId });
  }
  const unknown = 'f'.repeat(64);
  await runtime.stopPodSandbox({ podSandboxId: unknown });
  await runtime.removePodSandbox({ podSandboxId: unknown });
  await assert.rejects(runtime.containerStatus({ containerId: unknown }), { reason: 'NotFound' });
});

test('a later stop with less grace shortens an earlier one', async (t) => {
  if (!requireRoot(t)) return;
  const containerId = await shim.run('shorten', {
    command: ['sh', '-c', 'trap "" TERM; while true; do sleep 0.1; done'],
  });
  const started = performance.now();
  const slow = shim.cri.runtime.stopContainer({ containerId, timeout: 60 });
  await shim.cri.runtime.stopContainer({ containerId, timeout: 1 });
  await slow;
  assert.ok(performance.now() - started < 20_000);
});

test('execSync returns both streams and the exit code, and really kills what takes too long', async (t) => {
  if (!requireRoot(t)) return;
  const containerId = await shim.run('exec', {
    command: ['sleep', '1000'],
    envs: [{ key: 'GREETING', value: Buffer.from('héllo') }],
  });
  const { runtime } = shim.cri;
  const result = await runtime.execSync({ containerId, cmd: ['sh', '-c', 'echo "$GREETING"; echo e >&2; exit 9'] });
  assert.deepEqual([result.stdout.toString(), result.stderr.toString(), result.exitCode], ['héllo\n', 'e\n', 9]);
  await assert.rejects(runtime.execSync({ containerId, cmd: ['sleep', '777'], timeout: 1 }), { reason: 'Timeout' });
  // Not even as a zombie: process 1 of this container would never reap it.
  assert.doesNotMatch(await shim.exec(containerId, 'sh', '-c', 'cat /proc/[0-9]*/stat'), /\(sleep\) Z/);
  assert.doesNotMatch(await shim.exec(containerId, 'ps', '-o', 'args'), /777/);
  // A grandchild that keeps the output open must not hold the call for ever.
  const left = await runtime.execSync({ containerId, cmd: ['sh', '-c', 'echo said; sleep 888 & exit 7'] });
  assert.deepEqual([left.exitCode, left.stdout.toString()], [7, 'said\n']);
});

test('a container out of memory ends as OOMKilled, 137', async (t) => {
  if (!requireRoot(t)) return;
  const id = await shim.run('oom', {
    command: ['sh', '-c', 'dd if=/dev/zero of=/dev/null bs=60M'],
    linux: { resources: { memoryLimitInBytes: 16 * 1024 * 1024 } },
  });
  const status = await shim.waitForExit(id);
  assert.deepEqual([status.exitCode, status.reason], [137, 'OOMKilled']);
});

test('limits are set, shown in stats and changed in place', async (t) => {
  if (!requireRoot(t)) return;
  const MiB = 1024 * 1024;
  const containerId = await shim.run('limits', {
    command: ['sleep', '1000'],
    linux: {
      resources: {
        memoryLimitInBytes: 64 * MiB,
        cpuQuota: 50_000,
        cpuPeriod: 100_000,
        cpuShares: 512,
        unified: { 'pids.max': '20' },
      },
    },
  });
  const group = `/sys/fs/cgroup`;
  const path = `${kernelNames.cgroupParent(shim.instance)}/${containerId}`;
  const read = (controller: string, file: string): string =>
    readFileSync(join(group, controller, path, file), 'utf8').trim();
  if (existsSync(join(group, 'memory'))) {
    assert.deepEqual(
      [read('memory', 'memory.limit_in_bytes'), read('cpu', 'cpu.cfs_quota_us'), read('pids', 'pids.max')],
      [String(64 * MiB), '50000', '20'],
    );
  }
  const { stats } = await shim.cri.runtime.containerStats({ containerId });
  assert.ok((stats?.memory?.workingSetBytes?.value ?? 0) > 0 && (stats?.cpu?.usageCoreNanoSeconds?.value ?? 0) > 0);
  for (const bytes of [32 * MiB, 128 * MiB]) {
    await shim.cri.runtime.updateContainerResources({
      containerId,
      linux: { memoryLimitInBytes: bytes, cpuQuota: 20_000, cpuPeriod: 50_000 },
    });
    if (existsSync(join(group, 'memory'))) assert.equal(read('memory', 'memory.limit_in_bytes'), String(bytes));
  }
  assert.equal((await shim.status(containerId)).resources?.linux?.memoryLimitInBytes, 128 * MiB);
});

test('pause freezes, unpause thaws, a paused container can be stopped', async (t) => {
  if (!requireRoot(t)) return;
  const containerId = await shim.run('pause', { command: ['sh', '-c', 'while true; do echo x; sleep 0.02; done'] });
  await shim.cri.node.pauseContainer({ containerId });
  await shim.cri.node.pauseContainer({ containerId });
  await assert.rejects(shim.cri.runtime.execSync({ containerId, cmd: ['true'] }), { reason: 'Conflict' });
  await shim.cri.node.unpauseContainer({ containerId });
  await shim.exec(containerId, 'true');
  await shim.cri.node.pauseContainer({ containerId });
  await shim.cri.runtime.stopContainer({ containerId, timeout: 1 });
  assert.equal((await shim.status(containerId)).state, 'CONTAINER_EXITED');
});

test('reopenContainerLog continues in a new file after a rename', async (t) => {
  if (!requireRoot(t)) return;
  const containerId = await shim.run('rotate', { command: ['sh', '-c', 'while true; do echo tick; sleep 0.05; done'] });
  const { logPath } = await shim.status(containerId);
  await waitFor(() => readFileSync(logPath, 'utf8').includes('tick'));
  renameSync(logPath, `${logPath}.1`);
  await shim.cri.runtime.reopenContainerLog({ containerId });
  assert.ok(existsSync(logPath));
  await waitFor(() => readFileSync(logPath, 'utf8').includes('tick'), { what: 'output in the new file' });
});

test('two containers of a sandbox share network, ipc and /dev/shm; TARGET joins another sandbox', async (t) => {
  if (!requireRoot(t)) return;
  const sandbox = await shim.runSandbox('shared');
  const ids = [];
  for (const name of ['one', 'two']) {
    const containerId = await shim.create(sandbox, {
      metadata: { name, attempt: 0 },
      logPath: `${name}.log`,
      command: ['sleep', '1000'],
    });
    await shim.cri.runtime.startContainer({ containerId });
    ids.push(containerId);
  }
  const [one = '', two = ''] = ids;
  await shim.exec(one, 'sh', '-c', 'echo hi > /dev/shm/note');
  assert.equal(await shim.exec(two, 'cat', '/dev/shm/note'), 'hi');
  const guest = await shim.run(
    'guest',
    { command: ['sleep', '1000'] },
    {
      linux: {
        securityContext: {
          namespaceOptions: { network: 'TARGET', pid: 'CONTAINER', ipc: 'TARGET', targetId: sandbox },
        },
      },
    },
  );
  const net = (id: string) => shim.exec(id, 'readlink', '/proc/self/ns/net');
  assert.equal(await net(guest), await net(one));
  assert.equal(await shim.exec(guest, 'cat', '/dev/shm/note'), 'hi');
});

test('events come in order with the state they describe', async (t) => {
  if (!requireRoot(t)) return;
  const stop = new AbortController();
  const kinds: string[] = [];
  const reading = (async () => {
    for await (const event of shim.cri.runtime.getContainerEvents({}, { signal: stop.signal })) {
      const { podSandboxStatus: sandbox } = event;
      if (sandbox?.metadata?.name === 'events' && event.containerId !== sandbox.id)
        kinds.push(event.containerEventType);
    }
  })().catch(() => undefined);
  // The stream is open once an event of another container came through it.
  const probe = await shim.runSandbox('events-probe');
  await waitFor(async () => {
    const containerId = await shim.create(probe, { command: ['true'] });
    await shim.cri.runtime.removeContainer({ containerId });
    return true;
  });
  const containerId = await shim.run('events', { command: ['true'] });
  await shim.waitForExit(containerId);
  await shim.cri.runtime.removeContainer({ containerId });
  await waitFor(() => kinds.length >= 4, { what: 'four events' });
  stop.abort();
  await reading;
  assert.deepEqual(kinds, [
    'CONTAINER_CREATED_EVENT',
    'CONTAINER_STARTED_EVENT',
    'CONTAINER_STOPPED_EVENT',
    'CONTAINER_DELETED_EVENT',
  ]);
});

test('the same sandbox and container asked for twice at once are made once', async (t) => {
  if (!requireRoot(t)) return;
  const [first, second] = await Promise.all([shim.runSandbox('twice'), shim.runSandbox('twice')]);
  assert.equal(first, second);
  const containers = await Promise.all([1, 2, 3].map(() => shim.create(first, { command: ['true'] })));
  assert.equal(new Set(containers).size, 1);
  await shim.cri.runtime.stopPodSandbox({ podSandboxId: first });
  await assert.rejects(shim.runSandbox('twice'), { reason: 'AlreadyExists' });
  await shim.cri.runtime.removePodSandbox({ podSandboxId: first });
  assert.notEqual(await shim.runSandbox('twice'), first);
});

test('50 containers come and go without a trace', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim({ sandboxPool: 0 });
  const cycle = (batch: number): Promise<unknown> =>
    Promise.all(
      [0, 1, 2, 3, 4].map(async (slot) => {
        const containerId = await shim.run(`cycle-${batch}-${slot}`, { command: ['true'] });
        const { podSandboxId = '' } =
          (await shim.cri.runtime.listContainers({ filter: { id: containerId } })).containers[0] ?? {};
        await shim.cri.runtime.stopPodSandbox({ podSandboxId });
        await shim.cri.runtime.removePodSandbox({ podSandboxId });
      }),
    );
  // The first makes the folders that stay.
  await cycle(0);
  const before = await takeEmptySnapshot(shim.instance);
  for (let batch = 1; batch <= 10; batch += 1) await cycle(batch);
  await equalsSnapshot(shim.instance, before);
});
