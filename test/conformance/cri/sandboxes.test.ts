import assert from 'node:assert/strict';
import type { Draft, PodSandboxConfig } from '../../../cri/messages.ts';
import { collect, criSuite } from '../../support/cri-suite.ts';

const suite = criSuite();

const inTurn = async (calls: readonly (() => Promise<unknown>)[]): Promise<void> => {
  for (const call of calls) await call();
};

suite.test('a sandbox runs, stops, is removed, and then is NotFound', async () => {
  const { runtime } = suite.shim.cri;
  const podSandboxId = await suite.shim.runSandbox('life');
  const state = async (): Promise<string | undefined> =>
    (await runtime.podSandboxStatus({ podSandboxId })).status?.state;
  assert.equal(await state(), 'SANDBOX_READY');
  await runtime.stopPodSandbox({ podSandboxId });
  assert.equal(await state(), 'SANDBOX_NOTREADY');
  await runtime.removePodSandbox({ podSandboxId });
  assert.deepEqual((await runtime.listPodSandbox({ filter: { id: podSandboxId } })).items, []);
  await assert.rejects(runtime.podSandboxStatus({ podSandboxId }), { reason: 'NotFound' });
});

suite.test(
  'stop and remove succeed however often and whatever is left, and take running containers along',
  async () => {
    const { runtime } = suite.shim.cri;
    const containerId = await suite.runSleeper();
    const { podSandboxId = '' } = (await runtime.listContainers({ filter: { id: containerId } })).containers[0] ?? {};
    const stop = () => runtime.stopPodSandbox({ podSandboxId });
    const remove = () => runtime.removePodSandbox({ podSandboxId });
    await inTurn([stop, stop]);
    assert.equal((await suite.shim.status(containerId)).state, 'CONTAINER_EXITED');
    await inTurn([remove, remove, stop]);
    await assert.rejects(suite.shim.status(containerId), { reason: 'NotFound' });
  },
);

suite.test('attributes are kept in status and list', async () => {
  const { runtime } = suite.shim.cri;
  const metadata = { name: 'attributes', uid: 'uid-1', namespace: 'space', attempt: 3 };
  const config: Draft<PodSandboxConfig> = {
    metadata,
    labels: { foo: 'bar' },
    annotations: attachNothing({ abc: 'd' }),
  };
  const podSandboxId = await suite.shim.runSandbox('attributes', config);
  const { status, containersStatuses } = await runtime.podSandboxStatus({ podSandboxId });
  const { items } = await runtime.listPodSandbox({ filter: { id: podSandboxId } });
  for (const seen of [status, items[0]]) {
    assert.deepEqual([seen?.metadata, seen?.labels, seen?.annotations], [metadata, config.labels, config.annotations]);
    assert.ok((seen?.createdAt ?? 0) > 0);
  }
  assert.deepEqual(containersStatuses, []);
  const { info } = await runtime.podSandboxStatus({ podSandboxId, verbose: true });
  assert.ok((JSON.parse(info['info'] ?? '') as { directory: string }).directory.startsWith(suite.shim.instance.run));
});

suite.test('filters pick by id or its beginning, by state and by labels', async () => {
  const { runtime } = suite.shim.cri;
  const run = (name: string, tier: string): Promise<string> =>
    suite.shim.runSandbox(name, { labels: { tier, set: 'filter' } });
  const [one, two] = [await run('filter-1', 'a'), await run('filter-2', 'b')];
  await runtime.stopPodSandbox({ podSandboxId: two });
  const list = async (filter: object): Promise<string[]> =>
    (await runtime.listPodSandbox({ filter })).items.map(({ id }) => id).toSorted();
  const labelSelector = { set: 'filter' };
  assert.deepEqual(await list({ labelSelector }), [one, two].toSorted());
  assert.deepEqual(await list({ labelSelector: { set: 'filter', tier: 'b' } }), [two]);
  assert.deepEqual(await list({ labelSelector, state: { state: 'SANDBOX_READY' } }), [one]);
  assert.deepEqual(await list({ labelSelector, state: { state: 'SANDBOX_NOTREADY' } }), [two]);
  assert.deepEqual(await list({ id: one.slice(0, 13) }), [one]);
  assert.deepEqual(await list({ id: 'no-such-id' }), []);
});

suite.test('the same name again waits for the first or returns it, and is free after removal', async () => {
  const { runtime } = suite.shim.cri;
  const [first, second] = await Promise.all([suite.shim.runSandbox('twin'), suite.shim.runSandbox('twin')]);
  assert.deepEqual([second, await suite.shim.runSandbox('twin')], [first, first]);
  await runtime.removePodSandbox({ podSandboxId: first });
  assert.notEqual(await suite.shim.runSandbox('twin'), first);
});

suite.test('safe and unsafe sysctls hold in the sandbox', async () => {
  const containerId = await suite.runSleeper(
    {},
    {
      linux: {
        sysctls: { 'kernel.shm_rmid_forced': '1', 'fs.mqueue.msg_max': '101' },
        securityContext: { namespaceOptions: { network: 'POD', pid: 'CONTAINER', ipc: 'POD' } },
      },
    },
  );
  const read = (name: string): Promise<string> => suite.shim.exec(containerId, 'cat', `/proc/sys/${name}`);
  assert.deepEqual([await read('kernel/shm_rmid_forced'), await read('fs/mqueue/msg_max')], ['1', '101']);
});

suite.test('the resources of a sandbox are noted, bad ones refused', async () => {
  const { runtime } = suite.shim.cri;
  const podSandboxId = await suite.shim.runSandbox('resources');
  const resources = { cpuShares: 512, memoryLimitInBytes: 2 ** 26 };
  await runtime.updatePodSandboxResources({ podSandboxId, resources, overhead: { cpuShares: 2 } });
  const { info } = await runtime.podSandboxStatus({ podSandboxId, verbose: true });
  const seen = JSON.parse(info['info'] ?? '') as { resources: object; overhead: { cpuShares: number } };
  assert.deepEqual({ ...seen.resources, ...resources }, seen.resources);
  assert.equal(seen.overhead.cpuShares, 2);
  const bad = { podSandboxId, resources: { cpusetCpus: 'x' } };
  await assert.rejects(runtime.updatePodSandboxResources(bad), { reason: 'Invalid', message: /cpuset_cpus/ });
  await assert.rejects(runtime.updatePodSandboxResources({ podSandboxId: 'f'.repeat(64) }), { reason: 'NotFound' });
});

suite.test('the streaming list gives what the list gives, each once, then ends', async () => {
  const { runtime } = suite.shim.cri;
  const names = Array.from({ length: 20 }, (_, index) => `stream-${index}`);
  await Promise.all(names.map((name) => suite.shim.runSandbox(name, { labels: { set: 'stream' } })));
  const filter = { labelSelector: { set: 'stream' } };
  const messages = await collect(runtime.streamPodSandboxes({ filter }));
  assert.ok(messages.length > 1 && messages.every(({ podSandboxes }) => podSandboxes.length > 0));
  const streamed = messages.flatMap(({ podSandboxes }) => podSandboxes);
  assert.deepEqual([streamed.length, streamed], [names.length, (await runtime.listPodSandbox({ filter })).items]);
  const nothing = runtime.streamPodSandboxes({ filter: { labelSelector: { set: 'none' } } });
  assert.deepEqual(await collect(nothing), []);
});

function attachNothing(annotations: Record<string, string>): Record<string, string> {
  return { 'network.windlass.dev/attachments': '[]', ...annotations };
}
