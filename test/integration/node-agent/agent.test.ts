// The whole agent and the Pod view against the real API server and controllers; only the runtime is memory.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { installPods } from '../../../apiserver/pods/install.ts';
import { createApiClient } from '../../../client/api-client.ts';
import type { ApiClient } from '../../../client/client.ts';
import { readKubeconfig } from '../../../client/kubeconfig.ts';
import { eventKind, type Event } from '../../../crds/builtin.ts';
import { containerKind, type Container } from '../../../crds/container.ts';
import { startTestApiserver, type TestApiserver } from '../../support/apiserver.ts';
import { startTestControllers } from '../../support/controllers.ts';
import { createMemoryRuntime, type MemoryRuntime } from '../../support/memory-runtime.ts';
import { createAgentAuthority, startTestAgent, type AgentAuthority } from '../../support/node-agent.ts';
import { waitFor } from '../../support/wait.ts';

const cleanup = new AsyncDisposableStack();
let api: TestApiserver;
let client: ApiClient;
let runtime: MemoryRuntime;
let folder: string;
let authority: AgentAuthority;
let agent: { stop(): Promise<void> };

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'windlass-agent-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  authority = await createAgentAuthority();
  api = cleanup.use(await startTestApiserver({ prepare: (server) => installPods(server, authority.apiserver) }));
  client = createApiClient(readKubeconfig(api.kubeconfig), {});
  cleanup.defer(() => client.close());
  // This agent renews its lease as seldom as a real one.
  cleanup.use(startTestControllers(api.kubeconfig, ['--node-monitor-grace-seconds', '300']));
  runtime = createMemoryRuntime();
  agent = await startAgent();
});
after(async () => {
  await agent.stop();
  await cleanup.disposeAsync();
});

const startAgent = () => startTestAgent(api, { folder, nodeName: 'n1', runtime, authority });

const containers = () => client.kind<Container>(containerKind);
const create = (name: string, spec: object): Promise<Container> =>
  containers().create({ metadata: { name, namespace: 'default' }, spec: spec as Container['spec'] });

function reach(name: string, reason: string, timeoutMs = 30_000): Promise<Container> {
  let last: Container | undefined;
  return waitFor(
    async () => {
      last = await containers().get(name, 'default');
      return last?.status?.conditions?.some(({ type, reason: found }) => type === 'Ready' && found === reason) && last;
    },
    { timeoutMs, what: `${name} being ${reason}` },
  ).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${JSON.stringify(last?.status)}`, { cause: error });
  });
}

function kubectl(...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, HOME: api.folder, KUBECONFIG: api.kubeconfig };
    execFile('kubectl', args, { env, timeout: 20_000 }, (error, stdout, stderr) =>
      error ? reject(new Error(stderr || error.message)) : resolve(stdout),
    );
  });
}

test('a Container runs with one status write, and kubectl shows it as a Pod with its log', async () => {
  await create('web', { image: 'busybox', ports: [{ containerPort: 80, hostPort: 8080 }] });
  const running = await reach('web', 'Running');
  assert.equal(running.status?.phase, 'Running');
  assert.equal(running.status.image, 'docker.io/library/busybox:latest');
  assert.deepEqual(running.status.networks?.[0]?.name, 'default');
  assert.deepEqual(running.status.ports, [{ containerPort: 80, protocol: 'TCP', hostPort: 8080 }]);
  assert.ok(running.metadata.finalizers?.includes('windlass.dev/node'));
  assert.match(await kubectl('get', 'pods', 'web'), /web\s+1\/1\s+Running\s+0/);
  assert.equal(await kubectl('logs', 'web'), 'run 0\n');
  assert.match(await kubectl('describe', 'pod', 'web'), /State:\s+Running/);
  await assert.rejects(kubectl('logs', 'web', '--previous'), /previous terminated container "web" not found/);
  await assert.rejects(kubectl('run', 'x', '--image=y'), /pods/);
  await assert.rejects(kubectl('exec', 'web', '--as=bob', '--', 'true'), /User "bob" cannot get resource "pods"/);
  const upgrade = kubectl('attach', 'web', '--as=system:node:n1', '--as-group=system:nodes');
  await assert.rejects(upgrade, /nodes may not create pods/);
});

test('an exit is seen at once: the container is restarted, and its former log is there', async () => {
  const before = await containers().get('web', 'default');
  runtime.end(before?.status?.containerID ?? '', 3);
  const again = await waitFor(async () => {
    const now = await containers().get('web', 'default');
    return now?.status?.restartCount === 1 && now.status.phase === 'Running' && now;
  });
  assert.equal(again.status?.lastTermination?.exitCode, 3);
  assert.equal(await kubectl('logs', 'web'), 'run 1\n');
  assert.equal(await kubectl('logs', 'web', '--previous'), 'run 0\n');
});

test('a restart of the agent adopts what runs', async () => {
  const before = await containers().get('web', 'default');
  const calls = runtime.calls.length;
  await agent.stop();
  agent = await startAgent();
  await create('later', { image: 'busybox', networks: [] });
  await reach('later', 'Running');
  const now = await containers().get('web', 'default');
  assert.equal(now?.status?.containerID, before?.status?.containerID);
  assert.deepEqual(runtime.calls.slice(calls), ['runSandbox', 'createContainer', 'startContainer']);
});

test('ports, networks and resources change in place; anything else replaces behind the same object', async () => {
  const before = await containers().get('web', 'default');
  const calls = runtime.calls.length;
  await containers().mergePatch('web', 'default', { spec: { ports: [{ containerPort: 80, hostPort: 8081 }] } });
  await waitFor(async () => (await containers().get('web', 'default'))?.status?.ports?.[0]?.hostPort === 8081);
  await containers().mergePatch('web', 'default', { spec: { resources: { limits: { memory: '32Mi' } } } });
  await waitFor(() => runtime.calls.includes('updateResources'));
  assert.deepEqual(runtime.calls.slice(calls), ['updatePorts', 'updateResources']);
  await containers().mergePatch('web', 'default', { spec: { env: [{ name: 'A', value: '1' }] } });
  const replaced = await waitFor(async () => {
    const now = await containers().get('web', 'default');
    return now?.status?.phase === 'Running' && now.status.containerID !== before?.status?.containerID && now;
  });
  assert.equal(replaced.metadata.uid, before?.metadata.uid);
});

test('desiredState stops, pauses and starts again', async () => {
  const set = (desiredState: string) => containers().mergePatch('web', 'default', { spec: { desiredState } });
  await set('Paused');
  assert.equal((await reach('web', 'Paused')).status?.phase, 'Paused');
  await set('Stopped');
  assert.equal((await reach('web', 'Stopped')).status?.phase, 'Failed');
  await set('Running');
  assert.equal((await reach('web', 'Running')).status?.phase, 'Running');
});

test('what is missing is a condition that clears when it comes', async () => {
  await create('needy', {
    image: 'busybox',
    networks: [{ name: 'late' }],
    mounts: [{ mountPath: '/data', volume: 'late' }],
    env: [{ name: 'X', valueFrom: { configMapKeyRef: { name: 'late', key: 'x' } } }],
  });
  const waiting = await reach('needy', 'VolumeNotFound');
  assert.equal(waiting.status?.conditions?.find(({ type }) => type === 'NetworkReady')?.reason, 'NetworkNotFound');
  for (const body of [
    { kind: 'Volume', spec: {} },
    { kind: 'Network', spec: {} },
  ]) {
    const plural = `${body.kind.toLowerCase()}s`;
    const answer = await api.request('POST', `/apis/windlass.dev/v1/namespaces/default/${plural}`, {
      body: { apiVersion: 'windlass.dev/v1', ...body, metadata: { name: 'late' } },
      headers: { 'content-type': 'application/json' },
    });
    assert.equal(answer.status, 201, answer.text);
  }
  await reach('needy', 'ConfigNotFound');
  await kubectl('create', 'configmap', 'late', '--from-literal=x=1');
  const ready = await reach('needy', 'Running');
  assert.match(ready.status?.mounts?.[0]?.source ?? '', /default_late_/);
});

test('a pull that fails says which registry and why, and backs off', async () => {
  runtime.broken.set('localhost:1/x:latest', 'connection refused');
  await create('nopull', { image: 'localhost:1/x' });
  const failed = await waitFor(async () => {
    const now = await containers().get('nopull', 'default');
    return now?.status?.conditions?.find(
      ({ type, status }) => type === 'ImageReady' && status === 'False' && now.status?.reason !== 'Pulling',
    );
  });
  assert.match(failed.message, /registry localhost:1: connection refused/);
  assert.match(await kubectl('get', 'pod', 'nopull'), /ErrImagePull|ImagePullBackOff/);
  await assert.rejects(kubectl('logs', 'nopull'), /waiting to start/);
});

test('deleting the Pod deletes the Container and leaves nothing on the node', async () => {
  await kubectl('delete', 'pod', 'web', '--wait=false');
  await waitFor(async () => (await containers().get('web', 'default')) === undefined);
  assert.equal(
    [...runtime.sandboxes.values()].some(({ name }) => name === 'web'),
    false,
  );
});

test('containers that take their time to stop do not hold up the start of another', async () => {
  const names = Array.from({ length: 70 }, (_, index) => `slow-${index}`);
  await Promise.all(names.map((name) => create(name, { image: 'busybox', nodeName: 'n1' })));
  const slow = async (): Promise<Container[]> =>
    (await containers().list({ namespace: 'default' })).items.filter(({ metadata }) => names.includes(metadata.name));
  const isRunning = ({ status }: Container): boolean => status?.phase === 'Running';
  await waitFor(async () => (await slow()).every(isRunning), { what: 'the slow ones to run', timeoutMs: 30_000 });
  const gate = Promise.withResolvers<void>();
  runtime.stops.until = gate.promise;
  const stopped = runtime.calls.filter((call) => call === 'stopContainer').length;
  await Promise.all(names.map((name) => containers().delete(name, 'default', {})));
  const stopping = () => runtime.calls.filter((call) => call === 'stopContainer').length - stopped;
  await waitFor(async () => stopping() >= names.length, { what: 'all stops to be under way', timeoutMs: 30_000 });
  await create('quick', { image: 'busybox', nodeName: 'n1' });
  await reach('quick', 'Running');
  gate.resolve();
  runtime.stops.until = Promise.resolve();
  await containers().delete('quick', 'default', {});
  await waitFor(async () => (await slow()).length === 0, { what: 'the slow ones to be gone', timeoutMs: 30_000 });
});

test('a sandbox whose Container is unknown is removed', async () => {
  const [known] = runtime.sandboxes.values();
  assert.ok(known);
  runtime.sandboxes.set('stray', { ...known, id: 'stray', uid: 'nobody', name: 'stray' });
  await agent.stop();
  agent = await startAgent();
  await waitFor(() => !runtime.sandboxes.has('stray'));
  assert.ok(runtime.sandboxes.has(known.id));
});

test('a sandbox that cannot be removed is said on the Node and tried again, and holds up nobody', async (t) => {
  const { removeSandbox } = runtime;
  t.after(() => Object.assign(runtime, { removeSandbox }));
  const [known] = runtime.sandboxes.values();
  assert.ok(known);
  for (const id of ['stuck', 'loose']) runtime.sandboxes.set(id, { ...known, id, uid: id, name: id });
  let isBusy = true;
  Object.assign(runtime, {
    removeSandbox: async (id: string) => {
      if (id === 'stuck' && isBusy) throw new Error('its mount is busy');
      return removeSandbox(id);
    },
  });
  const saysOfNode = (reason: string) =>
    waitFor(async () => {
      const events = await client.kind<Event>(eventKind).list({ namespace: 'default' });
      return events.items.find((event) => event.reason === reason && event.involvedObject.name === 'n1');
    });
  await agent.stop();
  agent = await startAgent();
  await create('beside', { image: 'busybox', networks: [] });
  await reach('beside', 'Running');
  await waitFor(() => !runtime.sandboxes.has('loose'));
  const { message } = await saysOfNode('OrphanNotRemoved');
  assert.equal(
    message,
    'sandbox stuck of default/stuck, which no Container owns, cannot be removed and is tried again: its mount is busy',
  );
  isBusy = false;
  await waitFor(() => !runtime.sandboxes.has('stuck'), { timeoutMs: 30_000 });
  await saysOfNode('OrphanRemoved');
});
