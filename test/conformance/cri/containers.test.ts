import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Draft, Mount } from '../../../cri/messages.ts';
import { mount, MS, umountTree } from '../../../runtime-shim/host/mount.ts';
import { busyboxFiles } from '../../support/images.ts';
import { BUSYBOX } from '../../support/shim.ts';
import { collect, criSuite } from '../../support/cri-suite.ts';

const suite = criSuite();

const stateOf = async (containerId: string): Promise<string> => (await suite.shim.status(containerId)).state;

suite.test('a container is created, started, stopped and removed', async () => {
  const { runtime } = suite.shim.cri;
  const sandbox = await suite.shim.runSandbox(suite.freshName());
  const containerId = await suite.shim.create(sandbox, { command: ['sleep', '1000'] });
  assert.equal(await stateOf(containerId), 'CONTAINER_CREATED');
  await runtime.startContainer({ containerId });
  await runtime.startContainer({ containerId });
  assert.equal(await stateOf(containerId), 'CONTAINER_RUNNING');
  await runtime.stopContainer({ containerId, timeout: 0 });
  await runtime.stopContainer({ containerId, timeout: 0 });
  assert.equal(await stateOf(containerId), 'CONTAINER_EXITED');
  await assert.rejects(runtime.startContainer({ containerId }), { reason: 'Conflict' });
  await runtime.removeContainer({ containerId });
  await runtime.removeContainer({ containerId });
  await assert.rejects(suite.shim.status(containerId), { reason: 'NotFound' });
});

suite.test('a container is removed in every state', async () => {
  const { runtime } = suite.shim.cri;
  const sandbox = await suite.shim.runSandbox(suite.freshName());
  const make = (name: string): Promise<string> =>
    suite.shim.create(sandbox, { metadata: { name, attempt: 0 }, logPath: `${name}.log`, command: ['sleep', '1000'] });
  const [created, running, stopped] = [await make('created'), await make('running'), await make('stopped')];
  for (const containerId of [running, stopped]) await runtime.startContainer({ containerId });
  await runtime.stopContainer({ containerId: stopped, timeout: 0 });
  for (const containerId of [created, running, stopped]) await runtime.removeContainer({ containerId });
  assert.deepEqual((await runtime.listContainers({ filter: { podSandboxId: sandbox } })).containers, []);
});

suite.test('stop and remove of what never was succeed', async () => {
  const { runtime } = suite.shim.cri;
  const containerId = 'f'.repeat(64);
  await runtime.stopContainer({ containerId, timeout: 0 });
  await runtime.removeContainer({ containerId });
  await runtime.stopPodSandbox({ podSandboxId: containerId });
  await runtime.removePodSandbox({ podSandboxId: containerId });
});

suite.test('status and list say what the container is made of', async () => {
  const { runtime, images } = suite.shim.cri;
  const metadata = { name: 'attributes', attempt: 2 };
  const [labels, annotations] = [{ foo: 'bar' }, { abc: 'def' }];
  const containerId = await suite.runSleeper({ metadata, labels, annotations, stopSignal: 'SIGNAL_SIGUSR1' });
  const status = await suite.shim.status(containerId);
  const imageId = (await images.imageStatus({ image: { image: BUSYBOX } })).image?.id;
  const { containers } = await runtime.listContainers({ filter: { id: containerId } });
  assert.equal(containers.length, 1);
  for (const seen of [status, containers[0]]) {
    assert.deepEqual([seen?.metadata, seen?.labels, seen?.annotations], [metadata, labels, annotations]);
    assert.deepEqual([seen?.imageId, seen?.image?.image, seen?.imageRef !== ''], [imageId, BUSYBOX, true]);
  }
  assert.ok(status.createdAt > 0 && status.startedAt >= status.createdAt);
  assert.deepEqual([status.finishedAt, status.exitCode, status.reason], [0, 0, '']);
  assert.deepEqual([status.stopSignal, status.logPath.endsWith('/main.log')], ['SIGNAL_SIGUSR1', true]);
  assert.deepEqual(status.user?.linux, { uid: 0, gid: 0, supplementalGroups: [0] });
  const { info } = await runtime.containerStatus({ containerId, verbose: true });
  const { pid, runtimeSpec } = JSON.parse(info['info'] ?? '') as { pid: number; runtimeSpec: { ociVersion: string } };
  assert.ok(pid > 1 && runtimeSpec.ociVersion !== '');
});

suite.test('an image may be given by its id: what its user wrote is what is shown', async () => {
  const image = (await suite.shim.cri.images.imageStatus({ image: { image: BUSYBOX } })).image?.id ?? '';
  const containerId = await suite.runSleeper({ image: { image, userSpecifiedImage: BUSYBOX } });
  const status = await suite.shim.status(containerId);
  assert.deepEqual([status.image?.image, status.imageId], [BUSYBOX, image]);
});

suite.test('lists pick by id or its beginning, sandbox, state and labels, streamed or not', async () => {
  const { runtime } = suite.shim.cri;
  const podSandboxId = await suite.shim.runSandbox(suite.freshName());
  const ids: string[] = [];
  for (let index = 0; index < 12; index += 1) {
    const metadata = { name: `c${index}`, attempt: 0 };
    const labels = { set: 'list', parity: index % 2 === 0 ? 'even' : 'odd' };
    ids.push(await suite.shim.create(podSandboxId, { metadata, labels, logPath: `${index}.log`, command: ['true'] }));
  }
  const list = async (filter: object): Promise<string[]> => {
    const { containers } = await runtime.listContainers({ filter });
    const messages = await collect(runtime.streamContainers({ filter }));
    assert.deepEqual(
      messages.flatMap((message) => message.containers),
      containers,
    );
    return containers.map(({ id }) => id);
  };
  assert.deepEqual(await list({ podSandboxId }), ids);
  assert.deepEqual(await list({ podSandboxId: podSandboxId.slice(0, 13), state: { state: 'CONTAINER_CREATED' } }), ids);
  assert.deepEqual(await list({ podSandboxId, state: { state: 'CONTAINER_RUNNING' } }), []);
  const odd = ids.filter((_id, index) => index % 2 === 1);
  assert.deepEqual(await list({ labelSelector: { set: 'list', parity: 'odd' } }), odd);
  assert.deepEqual(await list({ id: ids[3]?.slice(0, 12) }), [ids[3]]);
});

suite.test("the stop signal is the container's, else the image's", async () => {
  const { runtime } = suite.shim.cri;
  const config = { Cmd: ['sh'], StopSignal: 'SIGHUP' };
  const image = await suite.shim.importImage(busyboxFiles(), config, 'windlass.local/stop-signal:1');
  const command = [
    'sh',
    '-c',
    'trap "exit 1" HUP; trap "exit 2" USR2; trap "exit 3" TERM; echo ready; while :; do sleep 0.05; done',
  ];
  const stop = async (more: object): Promise<number> => {
    const containerId = await suite.runSleeper({ command, ...more });
    await suite.untilLogged(containerId, 'ready');
    await runtime.stopContainer({ containerId, timeout: 20 });
    return (await suite.shim.status(containerId)).exitCode;
  };
  assert.equal(await stop({ image: { image } }), 1);
  assert.equal(await stop({ image: { image }, stopSignal: 'SIGNAL_SIGUSR2' }), 2);
  assert.equal(await stop({}), 3);
});

suite.test('a later stop with less grace shortens the first', async () => {
  const { runtime } = suite.shim.cri;
  const containerId = await suite.runSleeper({
    command: ['sh', '-c', 'trap "" TERM; echo ready; while :; do sleep 0.05; done'],
  });
  await suite.untilLogged(containerId, 'ready');
  const start = performance.now();
  const patient = runtime.stopContainer({ containerId, timeout: 100 });
  await runtime.stopContainer({ containerId, timeout: 0 });
  await patient;
  assert.ok(performance.now() - start < 10_000);
  const { exitCode, reason, finishedAt, startedAt } = await suite.shim.status(containerId);
  assert.deepEqual([exitCode, reason, finishedAt >= startedAt], [137, 'Error', true]);
});

suite.test('execSync answers with output and exit code; a time limit kills the program and says so', async () => {
  const { runtime } = suite.shim.cri;
  const containerId = await suite.runSleeper();
  const echo = await runtime.execSync({ containerId, cmd: ['echo', '-n', 'hello'], timeout: 5 });
  assert.deepEqual([echo.stdout.toString(), echo.stderr.toString(), echo.exitCode], ['hello', '', 0]);
  assert.equal((await runtime.execSync({ containerId, cmd: ['sh', '-c', 'exit 7'] })).exitCode, 7);
  const slow = runtime.execSync({ containerId, cmd: ['sleep', '4321'], timeout: 1 });
  await assert.rejects(slow, { reason: 'Timeout' });
  assert.doesNotMatch(await suite.shim.exec(containerId, 'ps', '-o', 'args'), /4321/);
});

suite.test(
  'a host folder is mounted, also through a link, and the mounts are shown as they were asked for',
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'windlass-volume-'));
    t.after(() => {
      umountTree(folder);
      rmSync(folder, { recursive: true });
    });
    // Propagation is refused for what the host keeps to itself.
    mount(folder, folder, null, MS.bind);
    mount(null, folder, null, MS.shared);
    mkdirSync(join(folder, 'real'));
    writeFileSync(join(folder, 'real', 'file'), 'content');
    symlinkSync(join(folder, 'real'), join(folder, 'link'));
    const mounted = (hostPath: string, containerPath: string, more: Draft<Mount> = {}): Mount => ({
      ...{ containerPath, hostPath: join(folder, hostPath), readonly: false, selinuxRelabel: false },
      ...{ propagation: 'PROPAGATION_PRIVATE', uidMappings: [], gidMappings: [], recursiveReadOnly: false },
      ...{ image: null, imageSubPath: '', mountOptions: [], ...(more as Partial<Mount>) },
    });
    const mounts = [
      mounted('real', '/real'),
      mounted('link', '/link', { readonly: true, propagation: 'PROPAGATION_HOST_TO_CONTAINER' }),
    ];
    const containerId = await suite.runSleeper({ mounts });
    assert.deepEqual((await suite.shim.status(containerId)).mounts, mounts);
    assert.equal(await suite.shim.exec(containerId, 'cat', '/real/file', '/link/file'), 'contentcontent');
    await assert.rejects(suite.shim.exec(containerId, 'touch', '/link/new'), /Read-only/);
  },
);
