// Pulls of the agent through CRI from a real registry: policies, credentials, Images that follow a tag.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { createServer, request as forward, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { describeInstance, paths } from '../../../lib/instance.ts';
import { makeBusyboxImage } from '../../support/images.ts';
import { startRealNode, type RealNode } from '../../support/real-node.ts';
import { startTestRegistry, type TestRegistry } from '../../support/registry.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

let started: RealNode | undefined;
let registry: TestRegistry | undefined;
let guard: Server | undefined;
const SECRET = Buffer.from('ann:s3cret').toString('base64');

before(async () => {
  if (process.getuid?.() !== 0) return;
  registry = await startTestRegistry();
  guard = await startGuard(registry.host);
  started = await startRealNode();
});
after(async () => {
  await started?.[Symbol.asyncDispose]();
  guard?.closeAllConnections();
  guard?.close();
  await registry?.[Symbol.asyncDispose]();
});

function node(): RealNode {
  assert.ok(started);
  return started;
}
function store(): TestRegistry {
  assert.ok(registry);
  return registry;
}
const version = (text: string) => makeBusyboxImage({ Cmd: ['sh', '-c', `echo ${text}; exec sleep 1000`] });
const podLog = (name: string): Promise<string> => node().kubectlOk(['logs', name]);

/** A registry that wants a name and a password before the one behind it answers. */
async function startGuard(host: string): Promise<Server> {
  const server = createServer((incoming, response) => {
    if (incoming.headers.authorization !== `Basic ${SECRET}`) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="guarded"' }).end('{}');
      return;
    }
    const { authorization: _, ...headers } = incoming.headers;
    const [hostname, port] = host.split(':');
    const inner = forward({ hostname, port, path: incoming.url, method: incoming.method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    inner.on('error', () => response.destroy());
    incoming.pipe(inner);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

test('policies: present or pulled, pulled each time it is made, never pulled; a restart keeps the image', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'runc', 'conmon', 'kubectl', 'docker-registry')) return;
  const reference = await store().push(version('one'), 'team/app', 'v');
  await node().make('never', `image: '${reference}', imagePullPolicy: Never`);
  await node().reach('never', /^ErrImageNeverPull$/);
  await node().make('first', `image: '${reference}'`);
  await node().reach('first', /^Running$/);
  await node().reach('never', /^Running$/);
  await store().push(version('two'), 'team/app', 'v');
  await node().make('present', `image: '${reference}'`);
  await node().reach('present', /^Running$/);
  await node().make('always', `image: '${reference}', imagePullPolicy: Always`);
  await node().reach('always', /^Running$/);
  await waitFor(async () => (await podLog('always')) !== '');
  assert.deepEqual([await podLog('present'), await podLog('always')], ['one\n', 'two\n']);
  await store().push(version('three'), 'team/app', 'v');
  const id = await node().status('always', 'containerID');
  await node().sh('always', 'echo kept > /note');
  process.kill(await node().pidOf('always'), 'SIGKILL');
  await node().reachOther('always', id);
  await waitFor(async () => (await podLog('always')) !== '');
  assert.deepEqual([await podLog('always'), await node().sh('always', 'cat /note')], ['two\n', 'kept']);
  await node().patch('always', { env: [{ name: 'A', value: 'b' }] });
  await waitFor(async () => (await podLog('always').catch(() => '')) === 'three\n', { timeoutMs: 20_000 });
  await node().remove('never', 'first', 'present', 'always');
});

test('what is missing at the registry is told, and found once it is there', async (t) => {
  if (!requireRoot(t)) return;
  await node().make('late', `image: '${store().host}/team/late:1'`);
  await node().reach('late', /^(ErrImagePull|ImagePullBackOff)$/);
  assert.match(await node().status('late', 'message'), /team\/late/);
  await store().push(version('late'), 'team/late', '1');
  await node().reach('late', /^Running$/, 60_000);
  await node().remove('late');
});

test('imagePullSecrets open a registry that wants a password', async (t) => {
  if (!requireRoot(t)) return;
  assert.ok(guard);
  const { port } = guard.address() as AddressInfo;
  const image = `127.0.0.1:${port}/team/private:1`;
  await store().push(version('private'), 'team/private', '1');
  const secret = async (name: string, auth: string): Promise<void> => {
    const config = Buffer.from(JSON.stringify({ auths: { [`127.0.0.1:${port}`]: { auth } } })).toString('base64');
    await node().put(`
apiVersion: v1
kind: Secret
type: kubernetes.io/dockerconfigjson
metadata: { name: ${name} }
data: { .dockerconfigjson: ${config} }`);
  };
  await secret('wrong', Buffer.from('ann:wrong').toString('base64'));
  await secret('right', SECRET);
  await node().make('without', `image: '${image}'`);
  await node().make('wrong', `image: '${image}', imagePullSecrets: [{ name: wrong }]`);
  for (const name of ['without', 'wrong']) {
    await node().reach(name, /^(ErrImagePull|ImagePullBackOff)$/);
    assert.match(await node().status(name, 'message'), /refused access/);
    assert.doesNotMatch(await node().status(name, 'message'), /s3cret/);
  }
  await node().make('right', `image: '${image}', imagePullSecrets: [{ name: right }]`);
  await node().reach('right', /^Running$/);
  await node().remove('without', 'wrong', 'right');
});

test('an Image pulls its reference, answers to its tags, and follows a tag that moves', async (t) => {
  if (!requireRoot(t)) return;
  const reference = await store().push(version('early'), 'team/moving', 'v');
  await node().put(`
apiVersion: windlass.dev/v1
kind: Image
metadata: { name: moving }
spec: { reference: '${reference}', refreshSeconds: 10, tags: [moving.test/app:1] }`);
  await node().kubectlOk(['wait', '--for=condition=Ready', 'img/moving', '--timeout=30s']);
  const digest = (): Promise<string> => node().kubectlOk(['get', 'img', 'moving', '-o', 'jsonpath={.status.digest}']);
  const before = await digest();
  await node().make('byname', 'imageName: moving');
  await node().make('bytag', 'image: moving.test/app:1');
  for (const name of ['byname', 'bytag']) {
    await node().reach(name, /^Running$/);
    await waitFor(async () => (await podLog(name)) === 'early\n');
  }
  await store().push(version('later'), 'team/moving', 'v');
  await waitFor(async () => (await digest()) !== before, {
    timeoutMs: 30_000,
    intervalMs: 300,
    what: 'the new digest',
  });
  await node().make('after', 'image: moving.test/app:1');
  await node().reach('after', /^Running$/);
  await waitFor(async () => (await podLog('after')) === 'later\n');
  assert.equal(await podLog('byname'), 'early\n');
  await node().remove('byname', 'bytag', 'after');
});

test('an Image is pushed where spec.push says, with the credentials of its Secret, and its tags come and go', async (t) => {
  if (!requireRoot(t)) return;
  assert.ok(guard);
  const { port } = guard.address() as AddressInfo;
  const reference = await store().push(version('pushed'), 'team/source', '1');
  const target = `127.0.0.1:${port}/team/copy:1`;
  const apply = (spec: string): Promise<unknown> =>
    node().put(`
apiVersion: windlass.dev/v1
kind: Image
metadata: { name: copied }
spec: { reference: '${reference}', ${spec} }`);
  const read = (path: string): Promise<string> =>
    node().kubectlOk(['get', 'img', 'copied', '-o', `jsonpath={${path}}`]);
  const reason = (): Promise<string> => read('.status.conditions[?(@.type=="Pushed")].reason');
  await apply(`tags: [copy.test/app:1], push: [{ reference: '${target}', secretName: pusher }]`);
  await node().kubectlOk(['wait', '--for=condition=Ready', 'img/copied', '--timeout=30s']);
  await waitFor(async () => /^(ErrImagePush|ImagePushBackOff)$/.test(await reason()), { what: 'the missing Secret' });
  assert.match(await read('.status.conditions[?(@.type=="Pushed")].message'), /secret "pusher" not found/);
  const config = Buffer.from(JSON.stringify({ auths: { [`127.0.0.1:${port}`]: { auth: SECRET } } })).toString('base64');
  await node().put(`
apiVersion: v1
kind: Secret
type: kubernetes.io/dockerconfigjson
metadata: { name: pusher }
data: { .dockerconfigjson: ${config} }`);
  await node().kubectlOk(['wait', '--for=condition=Pushed', 'img/copied', '--timeout=60s']);
  const digest = await read('.status.digest');
  assert.deepEqual(JSON.parse(await read('.status.pushed')), [{ reference: target, digest }]);
  await node().make('fromcopy', `image: '${store().host}/team/copy:1'`);
  await node().make('bytag', 'image: copy.test/app:1');
  for (const name of ['fromcopy', 'bytag']) await node().reach(name, /^Running$/);
  await node().remove('fromcopy', 'bytag');
  await node().kubectlOk(['patch', 'img', 'copied', '--type=merge', '-p', '{"spec":{"tags":null,"push":null}}']);
  await waitFor(async () => (await read('.status.conditions[?(@.type=="Pushed")].status')) === '', {
    what: 'Pushed to go',
  });
  await node().make('gone', 'image: copy.test/app:1, imagePullPolicy: Never');
  await node().reach('gone', /^ErrImageNeverPull$/);
  await node().remove('gone');
});

test('the HEALTHCHECK of an image is run, its times as the spec sets them', async (t) => {
  if (!requireRoot(t)) return;
  const image = makeBusyboxImage({
    Cmd: ['sleep', '1000'],
    Healthcheck: { Test: ['CMD-SHELL', 'test -e /well'], Interval: 1e9, Retries: 2 },
  } as Parameters<typeof makeBusyboxImage>[0]);
  const reference = await store().push(image, 'team/checked', '1');
  await node().make('checked', `image: '${reference}', onUnhealthy: None, healthCheck: { retries: 1 }`);
  await node().make('unchecked', `image: '${reference}', healthCheck: { disabled: true }`);
  await node().reach('unchecked', /^Running$/);
  await node().reach('checked', /^Unhealthy$/);
  assert.match(await node().status('checked', 'message'), /^1 health checks? in a row/);
  await node().sh('checked', 'touch /well');
  await node().reach('checked', /^Healthy$/);
  await node().remove('checked', 'unchecked');
});

test('an Image that is deleted gives the node its bytes back, unless something else uses them', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'runc', 'conmon', 'kubectl', 'docker-registry')) return;
  const image = version('gone');
  const reference = await store().push(image, 'team/gone', 'v');
  const content = paths.content(describeInstance(node().home, node().run));
  const isHere = (): boolean => existsSync(join(content, 'blobs', image.manifest.digest.replace(':', '/')));
  const apply = (name: string): Promise<string> =>
    node().put(`
apiVersion: windlass.dev/v1
kind: Image
metadata: { name: ${name} }
spec: { reference: '${reference}' }`);
  await Promise.all([apply('one'), apply('two')]);
  await node().kubectlOk(['wait', '--for=condition=Ready', 'img/one', 'img/two', '--timeout=30s']);
  assert.equal(isHere(), true);
  await node().kubectlOk(['delete', 'img', 'one', '--timeout=20s']);
  assert.equal(isHere(), true);
  await node().kubectlOk(['delete', 'img', 'two', '--timeout=20s']);
  await waitFor(() => !isHere(), { what: 'the sweep of the bytes' });
});
