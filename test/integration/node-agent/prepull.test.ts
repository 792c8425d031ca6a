// Images on nodes before anybody asks for them, with the real API server, controllers and agents of two nodes; only their
// runtimes are memory.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createApiClient } from '../../../client/api-client.ts';
import type { ApiClient } from '../../../client/client.ts';
import { readKubeconfig } from '../../../client/kubeconfig.ts';
import { nodeKind, type Node } from '../../../crds/builtin.ts';
import { imageKind, type Image } from '../../../crds/image.ts';
import { servePods, startTestApiserver, type TestApiserver } from '../../support/apiserver.ts';
import { startTestControllers } from '../../support/controllers.ts';
import { createMemoryRuntime, type MemoryRuntime } from '../../support/memory-runtime.ts';
import { createAgentAuthority, startTestAgent, type AgentAuthority } from '../../support/node-agent.ts';
import { waitFor } from '../../support/wait.ts';

const PATIENCE_MS = 60_000;
const cleanup = new AsyncDisposableStack();
const runtimes = new Map<string, MemoryRuntime>();
let api: TestApiserver;
let client: ApiClient;
let folder: string;
let authority: AgentAuthority;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'windlass-prepull-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  api = cleanup.use(await startTestApiserver({ prepare: servePods }));
  client = createApiClient(readKubeconfig(api.kubeconfig), {});
  cleanup.defer(() => client.close());
  cleanup.use(startTestControllers(api.kubeconfig, ['--node-monitor-grace-seconds', '300']));
  authority = await createAgentAuthority();
  await startAgent('n1');
  await startAgent('n2');
});
after(() => cleanup.disposeAsync());

async function startAgent(nodeName: string): Promise<void> {
  const runtime = createMemoryRuntime();
  runtimes.set(nodeName, runtime);
  cleanup.use(await startTestAgent(api, { folder: join(folder, nodeName), nodeName, runtime, authority }));
  await waitFor(
    async () => {
      const node = await client.kind<Node>(nodeKind).get(nodeName, undefined);
      return node?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True');
    },
    { timeoutMs: PATIENCE_MS, what: `node ${nodeName} being Ready` },
  );
}

const images = () => client.kind<Image>(imageKind);
const runtimeOf = (name: string): MemoryRuntime => runtimes.get(name) ?? assert.fail(name);

function reach(name: string, message: string | RegExp): Promise<Image> {
  let last: Image | undefined;
  return waitFor(
    async () => {
      last = await images().get(name, 'default');
      const found = last?.status?.conditions?.find(({ type }) => type === 'Prepulled')?.message ?? '';
      return (typeof message === 'string' ? found === message : message.test(found)) && last;
    },
    { timeoutMs: PATIENCE_MS, what: `${name}: ${message}` },
  ).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${JSON.stringify(last?.status)}`, { cause: error });
  });
}

test('a pulled and a built Image come to every node, and to one that joins later', async () => {
  const build = { context: { inline: { Dockerfile: 'FROM scratch\n' } } };
  const metadata = (name: string) => ({ name, namespace: 'default' });
  await images().create({ metadata: metadata('pulled'), spec: { reference: 'busybox', prepull: {} } as Image['spec'] });
  const spec = { build, tags: ['shop/app:1'], prepull: {} } as unknown as Image['spec'];
  await images().create({ metadata: metadata('built'), spec });
  const pulled = await reach('pulled', '2 of 2 nodes');
  const built = await reach('built', '2 of 2 nodes');
  assert.deepEqual(pulled.status?.nodes, ['n1', 'n2']);
  for (const node of ['n1', 'n2']) {
    for (const name of ['windlass.local/default/built:latest', 'docker.io/shop/app:1']) {
      assert.equal(runtimeOf(node).images.get(name)?.digest, built.status?.digest, `${name} on ${node}`);
    }
  }
  await startAgent('n3');
  await reach('pulled', '3 of 3 nodes');
  await reach('built', '3 of 3 nodes');
});

test('another build is brought to the nodes again', async () => {
  const before = await images().get('built', 'default');
  await images().mergePatch('built', 'default', { spec: { build: { noCache: true } } });
  const now = await waitFor(
    async () => {
      const image = await images().get('built', 'default');
      return image?.status?.digest !== before?.status?.digest && image?.status?.nodes?.length === 3 && image;
    },
    { timeoutMs: PATIENCE_MS, what: 'the new digest on all nodes' },
  );
  for (const { images: held } of runtimes.values()) {
    assert.equal(held.get('docker.io/shop/app:1')?.digest, now.status?.digest);
  }
});

test('only nodes with the labels get it; one that cannot says why', async () => {
  const nodes = client.kind<Node>(nodeKind);
  const label = (name: string, disk: string | null) =>
    nodes.mergePatch(name, undefined, { metadata: { labels: { disk } } });
  const reference = 'docker.io/library/rare:latest';
  await images().create({ metadata: { name: 'rare', namespace: 'default' }, spec: { reference } as Image['spec'] });
  const made = await waitFor(
    async () => {
      const image = await images().get('rare', 'default');
      return image?.status?.digest !== undefined && image;
    },
    { timeoutMs: PATIENCE_MS, what: 'the first node to have it' },
  );
  const [home = ''] = made.status?.nodes ?? [];
  const [cut = '', spare = ''] = [...runtimes.keys()].filter((name) => name !== home);
  for (const name of [home, cut]) await label(name, 'ssd');
  runtimeOf(cut).broken.set(reference, 'no route to host');
  await images().mergePatch('rare', 'default', { spec: { prepull: { nodeSelector: { disk: 'ssd' } } } });
  const image = await reach(
    'rare',
    /^1 of 2 nodes; not yet: n\d \(ErrImagePull: failed to pull .*: no route to host\)$/,
  );
  assert.deepEqual(
    image.status?.lacking?.map(({ nodeName }) => nodeName),
    [cut],
  );
  await label(cut, null);
  await reach('rare', '1 of 1 nodes');
  const isForgotten = async (): Promise<boolean> =>
    (await images().get('rare', 'default'))?.status?.lacking?.length === 0;
  await waitFor(isForgotten, { what: `${cut} to be no longer asked for it`, timeoutMs: PATIENCE_MS });
  await label(spare, 'ssd');
  await reach('rare', '2 of 2 nodes');
});

test('a deleted Image leaves all nodes', async () => {
  await images().delete('built', 'default', {});
  await waitFor(async () => !(await images().get('built', 'default')), { timeoutMs: PATIENCE_MS, what: 'its end' });
  for (const [name, { images: held }] of runtimes) {
    assert.equal(held.has('docker.io/shop/app:1'), false, name);
    assert.equal(held.has('windlass.local/default/built:latest'), false, name);
  }
});
