// The pid namespaces of containers: POD (CRI's zero value), CONTAINER, NODE and TARGET.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { kernelNames } from '../../../lib/instance.ts';
import { identifyProcess, isRunning, type ProcessIdentity } from '../../../lib/process-identity.ts';
import { openCgroups } from '../../../runtime-shim/cgroups/cgroups.ts';
import { requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';
import { waitFor } from '../../support/wait.ts';

type Mode = 'POD' | 'CONTAINER' | 'NODE' | 'TARGET';
let shim: TestShim;
let count = 0;
const isRoot = process.getuid?.() === 0;
before(async () => {
  if (isRoot) shim = await startTestShim();
});
after(async () => {
  if (isRoot) await shim[Symbol.asyncDispose]();
});

const options = (pid: Mode, targetId = '') => ({
  securityContext: { namespaceOptions: { network: 'POD', ipc: 'POD', pid, targetId } as const },
});
const runSandbox = () => shim.runSandbox(`pids-${(count += 1)}`, { linux: options('POD') });
const start = async (sandbox: string, pid: Mode, command: string[] = ['sleep', '1000'], targetId = '') => {
  const containerId = await shim.create(sandbox, {
    metadata: { name: `c${(count += 1)}`, attempt: 0 },
    logPath: `c${count}.log`,
    command,
    linux: options(pid, targetId),
  });
  await shim.cri.runtime.startContainer({ containerId });
  return containerId;
};
const initOf = async (containerId: string): Promise<ProcessIdentity> => {
  const { info } = await shim.cri.runtime.containerStatus({ containerId, verbose: true });
  const identity = identifyProcess((JSON.parse(info['info'] ?? '{}') as { pid: number }).pid);
  assert.ok(identity);
  return identity;
};
const namespaceOf = async (containerId: string): Promise<string> =>
  readlinkSync(`/proc/${(await initOf(containerId)).pid}/ns/pid`);
/** Pids of the sandbox's holder, found in its control group. */
const holderOf = (sandbox: string): number[] => {
  try {
    return openCgroups().pids(`${kernelNames.cgroupParent(shim.instance)}/pid-${sandbox}`);
  } catch {
    return [];
  }
};

test('POD: containers see one another and a process 1 that is none of them, which reaps what is left to it', async (t) => {
  if (!requireRoot(t)) return;
  const sandbox = await runSandbox();
  assert.deepEqual(holderOf(sandbox), [], 'made when it is asked for');
  const first = await start(sandbox, 'POD', ['sleep', '1001']);
  const second = await start(sandbox, 'POD', ['sleep', '1002']);
  assert.equal(await namespaceOf(first), await namespaceOf(second));
  assert.equal(await shim.exec(second, 'cat', '/proc/1/comm'), 'pid-holder');
  const list = await shim.exec(second, 'sh', '-c', 'cat /proc/[0-9]*/cmdline | tr "\\0" " "');
  assert.match(list, /sleep 1001/);
  assert.match(list, /sleep 1002/);
  // An orphan's parent is the holder from then on, and no zombie stays.
  await shim.exec(first, 'sh', '-c', '(sleep 0 & ) ; true');
  await waitFor(async () => !(await shim.exec(first, 'sh', '-c', 'cat /proc/[0-9]*/stat')).includes(') Z '), {
    what: 'no zombie',
  });
});

test('POD: exit codes, stop and exec of one container leave the other and the holder alone', async (t) => {
  if (!requireRoot(t)) return;
  const sandbox = await runSandbox();
  const stays = await start(sandbox, 'POD');
  const [holder] = holderOf(sandbox);
  const ends = await start(sandbox, 'POD', ['sh', '-c', 'sleep 1000 & exit 7']);
  assert.equal((await shim.waitForExit(ends)).exitCode, 7);
  // What it left running goes with it, although no pid namespace ended.
  assert.doesNotMatch(await shim.exec(stays, 'sh', '-c', 'ps | grep -c "[s]leep 1000"'), /[2-9]/);
  const heeds = await start(sandbox, 'POD', ['sh', '-c', 'trap "exit 9" TERM; while :; do sleep 0.1; done']);
  await shim.exec(heeds, 'true');
  await shim.cri.runtime.stopContainer({ containerId: heeds, timeout: 10 });
  assert.equal((await shim.status(heeds)).exitCode, 9);
  await shim.cri.runtime.stopContainer({ containerId: stays, timeout: 0 });
  assert.equal((await shim.status(stays)).exitCode, 137);
  assert.deepEqual(holderOf(sandbox), [holder]);
});

test('POD: a container that may trace its neighbours sees nothing of the host through process 1', async (t) => {
  if (!requireRoot(t)) return;
  const containerId = await shim.create(await runSandbox(), {
    command: ['sleep', '1000'],
    linux: { securityContext: { ...options('POD').securityContext, privileged: true } },
  });
  await shim.cri.runtime.startContainer({ containerId });
  assert.equal(await shim.exec(containerId, 'ls', '/proc/1/root/'), 'dev\npid-holder\nproc');
  assert.match(await shim.exec(containerId, 'grep', 'CapBnd', '/proc/1/status'), /0{16}/);
});

test('POD: the holder outlives a killed shim; killed itself it takes the containers along, and the next has a new one', async (t) => {
  if (!requireRoot(t)) return;
  const sandbox = await runSandbox();
  const first = await start(sandbox, 'POD');
  const [holder = 0] = holderOf(sandbox);
  await shim.kill();
  await shim.start();
  const second = await start(sandbox, 'POD');
  assert.deepEqual(holderOf(sandbox), [holder]);
  assert.equal(await namespaceOf(first), await namespaceOf(second));
  process.kill(holder, 'SIGKILL');
  for (const id of [first, second]) assert.equal((await shim.waitForExit(id)).exitCode, 137);
  const third = await start(sandbox, 'POD');
  assert.equal(await shim.exec(third, 'cat', '/proc/1/comm'), 'pid-holder');
  assert.notDeepEqual(holderOf(sandbox), [holder]);
});

test('POD: stopping the sandbox ends the holder, and nothing of it is left', async (t) => {
  if (!requireRoot(t)) return;
  const sandbox = await runSandbox();
  await start(sandbox, 'POD');
  const holder = identifyProcess(holderOf(sandbox)[0] ?? 0);
  assert.ok(holder);
  await shim.cri.runtime.stopPodSandbox({ podSandboxId: sandbox });
  assert.ok(!isRunning(holder));
  const { info } = await shim.cri.runtime.podSandboxStatus({ podSandboxId: sandbox, verbose: true });
  const { directory } = JSON.parse(info['info'] ?? '{}') as { directory: string };
  assert.ok(!existsSync(`${directory}/pid-holder`));
  await assert.rejects(start(sandbox, 'POD'), { reason: 'Conflict' });
});

test('POD: containers made at the same time share one holder', async (t) => {
  if (!requireRoot(t)) return;
  const sandbox = await runSandbox();
  const ids = await Promise.all(Array.from({ length: 4 }, () => start(sandbox, 'POD')));
  assert.equal(new Set(await Promise.all(ids.map(namespaceOf))).size, 1);
  assert.equal(holderOf(sandbox).length, 1);
});

test('CONTAINER, NODE and TARGET', async (t) => {
  if (!requireRoot(t)) return;
  const sandbox = await runSandbox();
  const own = await start(sandbox, 'CONTAINER');
  assert.match(await shim.exec(own, 'cat', '/proc/1/cmdline'), /^sleep/);
  assert.deepEqual(holderOf(sandbox), [], 'no holder is made for it');
  const node = await start(sandbox, 'NODE');
  assert.equal(await namespaceOf(node), readlinkSync('/proc/self/ns/pid'));
  assert.equal(
    await shim.exec(node, 'cat', `/proc/${process.pid}/comm`),
    readFileSync('/proc/self/comm', 'utf8').trim(),
  );
  const target = await start(sandbox, 'TARGET', ['sleep', '1000'], own);
  assert.equal(await namespaceOf(target), await namespaceOf(own));
  await shim.cri.runtime.stopContainer({ containerId: own, timeout: 0 });
  assert.equal((await shim.waitForExit(target)).exitCode, 137);
  await assert.rejects(start(sandbox, 'TARGET', ['true'], own), { reason: 'NotFound' });
});

test('POD: a shim killed while it makes the holder makes it after its restart, and loses none', async (t) => {
  if (!requireRoot(t)) return;
  const delays = Array.from({ length: process.env['WINDLASS_LONG'] === '1' ? 20 : 3 }, (_, index) => 5 + index * 8);
  for (const delayMs of delays) {
    const sandbox = await runSandbox();
    const cut = start(sandbox, 'POD').catch(() => undefined);
    await sleep(delayMs);
    await shim.kill();
    await cut;
    await shim.start();
    const id = await start(sandbox, 'POD');
    assert.equal(await shim.exec(id, 'cat', '/proc/1/comm'), 'pid-holder');
    assert.equal(holderOf(sandbox).length, 1);
    await shim.cri.runtime.removePodSandbox({ podSandboxId: sandbox });
    assert.deepEqual(holderOf(sandbox), []);
  }
});
