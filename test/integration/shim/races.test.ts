// Calls about one sandbox that meet: creation, stop, removal, a network attached to what is going. Whatever wins, in the
// end nothing is left, and nothing exists that no call could reach.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePorts } from '../../../cli/ports.ts';
import type { OwnSnapshot } from '../../support/host-snapshot.ts';
import { equalsSnapshot, takeEmptySnapshot } from '../../support/snapshot-check.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';
import { waitFor } from '../../support/wait.ts';

const networkOf = (name: string, third: number) => ({
  id: `races/${name}`,
  subnets: [{ cidr: `10.251.${third}.0/28`, gateway: `10.251.${third}.1`, ranges: [] }],
  ...{ internal: true, isolated: false, mtu: 1500, domain: name },
});
const attached = (name: string) => ({
  annotations: { 'network.windlass.dev/attachments': JSON.stringify([{ network: 'races/a', names: [name] }]) },
});
const command = ['sleep', '1000'];
/** More rounds than a network has addresses: one that leaks is missed. */
const ROUNDS = 20;

async function prepare(): Promise<TestShim> {
  const shim = await startTestShim({ sandboxPool: 0 });
  await shim.cri.node.ensureNetwork({ network: networkOf('a', 14) });
  await shim.cri.node.ensureNetwork({ network: networkOf('b', 15) });
  await shim.run('first', { command }, attached('first'));
  const { items } = await shim.cri.runtime.listPodSandbox({});
  await shim.cri.runtime.removePodSandbox({ podSandboxId: items[0]?.id ?? '' });
  return shim;
}

async function isClean(shim: TestShim, before: OwnSnapshot): Promise<void> {
  assert.deepEqual((await shim.cri.runtime.listContainers({})).containers, []);
  assert.deepEqual((await shim.cri.runtime.listPodSandbox({})).items, []);
  await equalsSnapshot(shim.instance, before);
}

/** The calls all at once, each a little later than the one before; what fails is one of the outcomes. */
const race = async (stepMs: number, calls: readonly (() => Promise<unknown>)[]): Promise<void> => {
  await Promise.allSettled(calls.map(async (call, index) => sleep(index * stepMs).then(call)));
};

test('a container created while its sandbox is stopped or removed is never left behind', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon')) return;
  await using shim = await prepare();
  const { runtime } = shim.cri;
  const before = await takeEmptySnapshot(shim.instance);
  for (let round = 0; round < ROUNDS; round += 1) {
    const podSandboxId = await shim.runSandbox(`create-${round}`, attached('x'));
    const create = (name: string) => async () => {
      const containerId = await shim.create(podSandboxId, { command, metadata: { name, attempt: 0 } });
      await runtime.startContainer({ containerId });
    };
    const isStop = round % 2 === 0;
    await race(round * 3, [
      create('one'),
      create('two'),
      () => (isStop ? runtime.stopPodSandbox({ podSandboxId }) : runtime.removePodSandbox({ podSandboxId })),
      create('three'),
    ]);
    const { containers } = await runtime.listContainers({});
    const alive = containers.filter(({ state }) => state === 'CONTAINER_RUNNING' || state === 'CONTAINER_CREATED');
    assert.deepEqual(alive, [], `round ${round}`);
    if (!isStop) assert.deepEqual(containers, [], `round ${round}`);
    await runtime.removePodSandbox({ podSandboxId });
  }
  await isClean(shim, before);
});

test('a network or port given to a sandbox that is stopped at that moment is taken back', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon')) return;
  await using shim = await prepare();
  const { runtime, node } = shim.cri;
  const before = await takeEmptySnapshot(shim.instance);
  const [hostPort = 0] = await freePorts(1);
  for (let round = 0; round < ROUNDS; round += 1) {
    const sandboxId = await shim.runSandbox(`attach-${round}`, attached('x'));
    await race(round % 3, [
      () => node.attachNetwork({ sandboxId, attachment: { network: 'races/b', names: ['y'] } }),
      () => node.updatePorts({ sandboxId, ports: [{ protocol: 'TCP', containerPort: 80, hostPort, hostIp: '' }] }),
      () => runtime.stopPodSandbox({ podSandboxId: sandboxId }),
      () => node.detachNetwork({ sandboxId, network: 'races/a' }),
      () => node.attachNetwork({ sandboxId, attachment: { network: 'races/b', names: ['y'] } }),
    ]);
    // Nobody uses it any more, although the sandbox has not been removed. (Its links go a moment after the answer.)
    const isUnused = () =>
      node.removeNetwork({ networkId: 'races/b' }).then(
        () => true,
        () => false,
      );
    await waitFor(isUnused, { what: 'the end of every use of the network' });
    await node.ensureNetwork({ network: networkOf('b', 15) });
    await runtime.removePodSandbox({ podSandboxId: sandboxId });
  }
  // The port is free: another sandbox gets it.
  const last = await shim.runSandbox('last', attached('x'));
  await node.updatePorts({
    sandboxId: last,
    ports: [{ protocol: 'TCP', containerPort: 80, hostPort, hostIp: '' }],
  });
  await runtime.removePodSandbox({ podSandboxId: last });
  await isClean(shim, before);
});

test('one name asked for many times at once is one sandbox and one container', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon')) return;
  await using shim = await prepare();
  const before = await takeEmptySnapshot(shim.instance);
  const ids = await Promise.all(Array.from({ length: 8 }, () => shim.runSandbox('same', attached('x'))));
  assert.equal(new Set(ids).size, 1);
  const [sandboxId = ''] = ids;
  const containers = await Promise.all(Array.from({ length: 8 }, () => shim.create(sandboxId, { command })));
  assert.equal(new Set(containers).size, 1);
  const [containerId = ''] = containers;
  await Promise.all(Array.from({ length: 4 }, () => shim.cri.runtime.startContainer({ containerId })));
  await Promise.all([
    ...Array.from({ length: 4 }, () => shim.cri.runtime.stopContainer({ containerId, timeout: 0 })),
    ...Array.from({ length: 4 }, () => shim.cri.runtime.removeContainer({ containerId })),
    ...Array.from({ length: 4 }, () => shim.cri.runtime.removePodSandbox({ podSandboxId: sandboxId })),
  ]);
  await isClean(shim, before);
});
