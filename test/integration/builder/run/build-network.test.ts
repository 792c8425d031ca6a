// The network of a build: the steps of a real build on a real node network.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { silentLogger } from '../../../../lib/log.ts';
import { paths } from '../../../../lib/instance.ts';
import {
  bindMount,
  isNamespacePin,
  MNT,
  mountTmpfs,
  umount,
  umountMeanwhile,
} from '../../../../runtime-shim/host/mount.ts';
import { mountIdMapped } from '../../../../runtime-shim/host/idmapped-mount.ts';
import {
  createSandboxNamespaces,
  pinNamespace,
  setHostname,
  unpinNamespace,
} from '../../../../runtime-shim/host/namespaces.ts';
import { openBuildNetwork, type BuildNetworkParts } from '../../../../runtime-shim/network/build-network.ts';
import { createPodNetwork } from '../../../../runtime-shim/network/pod-network.ts';
import { createSandboxPool } from '../../../../runtime-shim/pool/sandbox-pool.ts';
import type { SandboxHost } from '../../../../runtime-shim/rpc/deps.ts';
import { openRecordStore } from '../../../../runtime-shim/store/record-store.ts';
import { openTestSteps, type TestSteps } from '../../../support/build-steps.ts';
import { becomePrivateHost, makeNetwork, startNetwork, type NetworkHarness } from '../../../support/node-network.ts';
import { requirePrograms, requireRoot } from '../../../support/require.ts';
import { waitFor } from '../../../support/wait.ts';

const isRoot = process.getuid?.() === 0;
if (isRoot) becomePrivateHost();

const host: SandboxHost = {
  ...{ createSandboxNamespaces, setHostname, bindMount, mountIdMapped, pinNamespace, unpinNamespace },
  createUserNamespace: () => Promise.reject(new Error('not needed')),
  mountTmpfs: (target, data) => mountTmpfs(target, data),
  unmount: (target) => umount(target, MNT.detach),
  unmountTogether: (targets) => umountMeanwhile(targets, MNT.detach),
};

interface Setup extends AsyncDisposable {
  readonly harness: NetworkHarness;
  readonly steps: TestSteps;
  readonly parts: BuildNetworkParts;
  /** Folders of sandboxes and the like. */
  places(): string[];
}

async function setUp(poolSize = 0): Promise<Setup> {
  const stack = new AsyncDisposableStack();
  const harness = stack.use(await startNetwork({ upstreamResolvers: [] }));
  const { instance, network } = harness;
  const steps = stack.use(await openTestSteps({ root: dirname(instance.home), ociRuntime: 'crun' }));
  const sandboxes = join(paths.shimState(instance), 's');
  const store = openRecordStore(paths.shimState(instance), () => undefined);
  mkdirSync(sandboxes, { recursive: true });
  const pool = createSandboxPool({ host, network, log: silentLogger(), store }, sandboxes, poolSize);
  const podNetwork = createPodNetwork(instance, network, 'auto');
  return {
    ...{ harness, steps, parts: { instance, host, network, podNetwork, pool } },
    places: () => readdirSync(sandboxes),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const isReady = (t: TestContext): boolean => requireRoot(t) && requirePrograms(t, 'crun', 'nft');
const ADDRESS = "ip -o -4 addr show eth0 | awk '{ print $4 }'";

test('the steps of a build share an address, reach others by name, and give all of it back', async (t) => {
  if (!isReady(t)) return;
  await using setup = await setUp();
  const { harness, steps, parts, places } = setup;
  await harness.network.ensureNetwork(makeNetwork(91));
  const stop = new AbortController();
  const serving = harness.network.run(stop.signal);
  try {
    const web = await harness.addSandbox('web', ['default/net91']);
    await web.peer.serve('TCP', 80, 'from web');
    {
      await using network = openBuildNetwork(parts, { buildId: 'b1', networkId: 'default/net91' });
      assert.deepEqual(places(), []);
      const run = (command: string): Promise<string[]> => steps.run(steps.openRoot(), command, { network });
      const [[first], [second]] = (await Promise.all([run(ADDRESS), run(ADDRESS)])) as [[string], [string]];
      assert.match(first, /^10\.91\.0\.\d+\/24$/);
      assert.equal(second, first);
      assert.equal(places().length, 1);
      assert.deepEqual(await run(`grep -c "^${first.split('/')[0]}\tbuild$" /etc/hosts; cat /etc/resolv.conf`), [
        ...['1', 'nameserver 10.91.0.1', 'options ndots:0'],
      ]);
      assert.deepEqual(await run('ping -c 1 -W 5 web > /dev/null && echo reached'), ['reached']);
      // Of its own: nothing but loopback.
      const none = await steps.run(steps.openRoot(), 'ip -o link | wc -l; wc -c < /etc/resolv.conf', {
        network,
        operation: { network: 'none' },
      });
      assert.deepEqual(none, ['1', '0']);
    }
    assert.deepEqual(places(), []);
    await waitFor(() => harness.network.listSandboxes().length === 1, { what: 'the end of the build in the network' });
  } finally {
    stop.abort();
    await serving;
  }
});

test('a build whose steps need no network makes none', async (t) => {
  if (!isReady(t)) return;
  await using setup = await setUp();
  const { harness, steps, parts, places } = setup;
  await harness.network.ensureNetwork(makeNetwork(92));
  await using network = openBuildNetwork(parts, { buildId: 'b2', networkId: 'default/net92' });
  await steps.run(steps.openRoot(), 'true', { network, operation: { network: 'none' } });
  assert.deepEqual(places(), []);
});

test('a network that is not there fails the step naming it, and leaves nothing', async (t) => {
  if (!isReady(t)) return;
  await using setup = await setUp();
  const { harness, steps, parts, places } = setup;
  await using network = openBuildNetwork(parts, { buildId: 'b3', networkId: 'default/none' });
  for (let tries = 0; tries < 2; tries += 1) {
    await assert.rejects(steps.run(steps.openRoot(), 'true', { network }), {
      reason: 'NotFound',
      message: /network default\/none/,
    });
  }
  assert.deepEqual(places(), []);
  assert.deepEqual(harness.network.listSandboxes(), []);
  await harness.network.ensureNetwork(makeNetwork(93, { id: 'default/none' }));
  assert.equal((await steps.run(steps.openRoot(), ADDRESS, { network })).length, 1);
});

test('a sandbox that was kept ready is taken', async (t) => {
  if (!isReady(t)) return;
  await using setup = await setUp(1);
  const { harness, steps, parts, places } = setup;
  await harness.network.ensureNetwork(makeNetwork(94));
  assert.equal(parts.pool.take('default/net94'), undefined);
  const stop = new AbortController();
  const filling = parts.pool.part.run(stop.signal);
  await waitFor(() => parts.pool.size() === 1, { what: 'a sandbox that is ready' });
  stop.abort();
  await filling;
  const [ready] = places();
  {
    await using network = openBuildNetwork(parts, { buildId: 'b4', networkId: 'default/net94' });
    const { netnsPath } = await network.connect();
    assert.ok(netnsPath.includes(ready ?? '-') && isNamespacePin(netnsPath));
    assert.match((await steps.run(steps.openRoot(), ADDRESS, { network }))[0] ?? '', /^10\.94\./);
  }
  assert.deepEqual(places(), []);
});

test('what a killed process left of it is found and removed', async (t) => {
  if (!isReady(t)) return;
  await using setup = await setUp();
  const { harness, parts, places } = setup;
  await harness.network.ensureNetwork(makeNetwork(95));
  const { netnsPath } = await openBuildNetwork(parts, { buildId: 'b5', networkId: 'default/net95' }).connect();
  await harness.restart();
  const { network } = harness;
  assert.equal(network.listSandboxes().length, 1);
  const store = openRecordStore(paths.shimState(parts.instance), () => undefined);
  const sandboxes = join(paths.shimState(parts.instance), 's');
  await createSandboxPool({ host, network, log: silentLogger(), store }, sandboxes, 0).recover();
  assert.deepEqual(network.listSandboxes(), []);
  assert.deepEqual(places(), []);
  assert.ok(!existsSync(netnsPath));
});
