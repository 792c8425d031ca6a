// Builds as resources and uploaded archives, with the real API server, controllers and agent; only the runtime is memory.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { installPods } from '../../../apiserver/pods/install.ts';
import { createApiClient } from '../../../client/api-client.ts';
import type { ApiClient } from '../../../client/client.ts';
import { readKubeconfig } from '../../../client/kubeconfig.ts';
import { archiveKind, archiveName, type Archive } from '../../../crds/archive.ts';
import { secretKind, type Secret } from '../../../crds/builtin.ts';
import { imageKind, type Image } from '../../../crds/image.ts';
import { WindlassError } from '../../../lib/errors.ts';
import type { KeyPair } from '../../../lib/pki.ts';
import { startTestApiserver, type TestApiserver } from '../../support/apiserver.ts';
import { startTestControllers } from '../../support/controllers.ts';
import { createMemoryRuntime, type MemoryRuntime } from '../../support/memory-runtime.ts';
import { createAgentAuthority, startTestAgent, type AgentAuthority } from '../../support/node-agent.ts';
import { waitFor } from '../../support/wait.ts';

const PATIENCE_MS = 60_000;
const LIMITS = { maxBytes: 100_000, quotaBytes: 150_000 };

const cleanup = new AsyncDisposableStack();
let api: TestApiserver;
let client: ApiClient;
let runtime: MemoryRuntime;
let build: MemoryRuntime['builder']['build'];
let folder: string;
let authority: AgentAuthority;
let agent: { stop(): Promise<void> };

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'windlass-builds-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  authority = await createAgentAuthority();
  api = cleanup.use(
    await startTestApiserver({ prepare: (server) => installPods(server, authority.apiserver, LIMITS) }),
  );
  client = createApiClient(readKubeconfig(api.kubeconfig), {});
  cleanup.defer(() => client.close());
  cleanup.use(startTestControllers(api.kubeconfig, ['--node-monitor-grace-seconds', '300']));
  runtime = createMemoryRuntime();
  build = runtime.builder.build;
  agent = await startAgent();
});
beforeEach(() => {
  runtime.builder.build = build;
});
after(async () => {
  await agent.stop();
  await cleanup.disposeAsync();
});

const startAgent = () => startTestAgent(api, { folder, nodeName: 'n1', runtime, authority });

const images = () => client.kind<Image>(imageKind);
const create = (name: string, spec: object): Promise<Image> =>
  images().create({ metadata: { name, namespace: 'default' }, spec: spec as Image['spec'] });
const inline = (text = 'FROM busybox\n') => ({ context: { inline: { Dockerfile: text } } });
const logPath = (name: string): string => `/apis/windlass.dev/v1/namespaces/default/images/${name}/log`;
const conditionOf = (image: Image | undefined, type: string) =>
  image?.status?.conditions?.find((condition) => condition.type === type);

async function until(name: string, holds: (image: Image) => boolean, what: string): Promise<Image> {
  let last: Image | undefined;
  return waitFor(
    async () => {
      last = await images().get(name, 'default');
      return last && holds(last) && last;
    },
    { timeoutMs: PATIENCE_MS, what: `${name}: ${what}` },
  ).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${JSON.stringify(last?.status)}`, { cause: error });
  });
}

const reach = (name: string, type: string, reason: string): Promise<Image> =>
  until(name, (image) => conditionOf(image, type)?.reason === reason, `${type} ${reason}`);

function kubectl(...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, HOME: api.folder, KUBECONFIG: api.kubeconfig };
    execFile('kubectl', args, { env, timeout: 60_000 }, (error, stdout, stderr) =>
      error ? reject(new Error(stderr || error.message)) : resolve(stdout),
    );
  });
}

function windlass(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const main = new URL('../../../cli/main.ts', import.meta.url).pathname;
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { timeout: 60_000 }, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
}

/** A build that goes on until it is let go, or ended. */
function hold() {
  const gate = Promise.withResolvers<void>();
  const ended: string[] = [];
  runtime.builder.build = async (request, options) => {
    await options.onEvent({ kind: 'step', step: 3, steps: 9, instruction: 'RUN make' });
    await options.onEvent({ kind: 'log', text: '#3 [build 2/5] RUN make\n' });
    const stopped = Promise.withResolvers<never>();
    options.signal.addEventListener('abort', () => {
      ended.push(request.id);
      stopped.reject(options.signal.reason);
    });
    await Promise.race([gate.promise, stopped.promise]);
    return build(request, options);
  };
  return { release: gate.resolve, ended };
}

test('an Image with spec.build is built on the node, named, described, and its log can be followed', async () => {
  const held = hold();
  const made = await create('app', {
    build: { ...inline(), args: { A: '1' }, labels: { vendor: 'x' }, target: 'final' },
    tags: ['shop/app:1'],
  });
  const busy = await until('app', ({ status }) => status?.progress?.step !== undefined, 'a step');
  assert.deepEqual(busy.status?.progress, { phase: 'Building', step: '3/9 RUN make' });
  assert.equal(conditionOf(busy, 'Ready')?.reason, 'Building');
  assert.match(busy.status?.buildLog ?? '', /kubectl get --raw '.*images\/app\/log\?follow=true'/);
  const following = kubectl('get', '--raw', `${logPath('app')}?follow=true`);
  const followed = windlass('logs', 'image/app', '--follow', '--kubeconfig', api.kubeconfig);
  held.release();
  const ready = await reach('app', 'Ready', 'Built');
  assert.equal(await following, '#3 [build 2/5] RUN make\n#1 [1/1] FROM busybox (inline)\n');
  assert.deepEqual(await followed, { code: 0, stdout: await following, stderr: '' });
  assert.equal(ready.status?.digest, runtime.images.get('docker.io/shop/app:1')?.digest);
  assert.deepEqual(ready.status?.nodes, ['n1']);
  assert.equal(ready.status?.progress, undefined);
  assert.equal(ready.status?.build?.cachedSteps, 0);
  const { id, references, args, labels, target, network } = runtime.builds.at(-1) ?? {};
  assert.deepEqual(
    { id, references, args, labels, target, network },
    {
      id: made.metadata.uid,
      references: ['windlass.local/default/app:latest', 'docker.io/shop/app:1'],
      args: { A: '1' },
      labels: { vendor: 'x' },
      target: 'final',
      network: 'default/default',
    },
  );
});

test('the log takes the options of a Pod log, and nodes may not read it', async () => {
  const lines = (query: string): Promise<string> => kubectl('get', '--raw', `${logPath('app')}?${query}`);
  assert.equal(await lines('tailLines=1'), '#1 [1/1] FROM busybox (inline)\n');
  assert.equal(await lines('limitBytes=5'), '#3 [b');
  const own = (...args: string[]) => windlass('logs', ...args, '--kubeconfig', api.kubeconfig);
  assert.equal((await own('img/app', '--tail', '1')).stdout, '#1 [1/1] FROM busybox (inline)\n');
  assert.match((await own('image/app', '--timestamps')).stdout, /^\d{4}-\S+Z #3 \[build 2\/5\] RUN make\n/);
  const absent = await own('image/none', '--namespace', 'default');
  assert.deepEqual([absent.code, absent.stdout], [3, '']);
  assert.match(absent.stderr, /^windlass: images\.windlass\.dev "none" not found\n$/);
  assert.match(await lines('timestamps=true&tailLines=1'), /^20\d\d-\S+Z #1 /);
  await assert.rejects(lines('previous=true'), /no log of a build before/);
  await assert.rejects(lines('tailLines=x'), /tailLines/);
  await assert.rejects(kubectl('get', '--raw', logPath('nobody')), /images.windlass.dev "nobody" not found/);
  const node = await api.issue('system:node:n1', ['system:nodes']);
  assert.equal((await api.request('GET', logPath('app'), { as: node })).status, 403);
  await create('pulled', { reference: 'busybox' });
  await assert.rejects(kubectl('get', '--raw', logPath('pulled')), /is not built: it has no log/);
});

test('a build starts again when its inputs change, and not when only its names do', async () => {
  const before = runtime.builds.length;
  await images().mergePatch('app', 'default', { spec: { tags: ['shop/app:1', 'shop/app:2'] } });
  await until('app', ({ metadata, status }) => status?.observedGeneration === metadata.generation, 'the tags');
  assert.equal(runtime.builds.length, before);
  await images().mergePatch('app', 'default', { spec: { build: { rebuiltAt: '2026-01-01T00:00:00Z' } } });
  await until('app', ({ metadata, status }) => status?.observedGeneration === metadata.generation, 'the build');
  assert.equal(runtime.builds.length, before + 1);
  assert.match(await kubectl('get', '--raw', `${logPath('app')}?previous=true`), /RUN make/);
});

test('a change during a build ends it and starts another; deleting the Image ends it for good', async () => {
  const held = hold();
  const { metadata } = await create('moving', { build: inline() });
  await until('moving', ({ status }) => status?.progress?.step !== undefined, 'a step');
  await images().mergePatch('moving', 'default', { spec: { build: inline('FROM scratch\n') } });
  await waitFor(() => held.ended.length === 1, { what: 'the first build to end', timeoutMs: PATIENCE_MS });
  const isAgain = (): boolean => runtime.builds.filter(({ id }) => id === metadata.uid).length === 2;
  await waitFor(isAgain, { what: 'the second build', timeoutMs: PATIENCE_MS });
  const logs = join(folder, 'home', 'builds');
  const hasLogs = (): boolean => readdirSync(logs).some((name) => name.startsWith('default_moving_'));
  await waitFor(hasLogs, { what: 'the log' });
  await images().delete('moving', 'default', {});
  await waitFor(() => held.ended.length === 2, { what: 'the second build to end', timeoutMs: PATIENCE_MS });
  await waitFor(async () => !(await images().get('moving', 'default')), { timeoutMs: PATIENCE_MS });
  await waitFor(() => !hasLogs(), { what: 'the log to be gone', timeoutMs: PATIENCE_MS });
  assert.equal(runtime.images.has('windlass.local/default/moving:latest'), false);
});

test('a failure names the place, the instruction and the end of the output, and waits for a change', async () => {
  runtime.builder.build = async (_, { onEvent }) => {
    await onEvent({ kind: 'step', step: 3, steps: 3, instruction: 'RUN make' });
    await onEvent({ kind: 'log', text: '#4 [3/3] RUN make\nmake: *** No rule to make target.  Stop.\n' });
    return {
      ...{ kind: 'failed', message: 'the command ended with 2', file: 'Dockerfile', line: 7, column: 1 },
      ...{ instruction: 'RUN make', isFinal: true, reason: 'Invalid' },
      output: ['make: *** No rule to make target.  Stop.'],
      missingImage: '',
    };
  };
  await create('broken', { build: inline() });
  const failed = await reach('broken', 'Ready', 'BuildFailed');
  const message = conditionOf(failed, 'Built')?.message ?? '';
  assert.match(message, /^Dockerfile:7:1: RUN make: the command ended with 2\n/);
  assert.match(message, /No rule to make target/);
  const before = runtime.builds.length;
  await images().mergePatch('broken', 'default', { spec: { tags: ['x'] } });
  await until('broken', ({ status }) => status?.reference === 'docker.io/library/x:latest', 'the tag');
  assert.equal(runtime.builds.length, before);
  runtime.builder.build = build;
  await images().mergePatch('broken', 'default', { spec: { build: { noCache: true } } });
  await reach('broken', 'Ready', 'Built');
});

test('builds that wait for each other say so, until one of them no longer does', async () => {
  const made = new Set<string>();
  runtime.builder.build = async (request, options) => {
    const { context } = request;
    const text = context.kind === 'inline' ? (context.files['Dockerfile'] ?? '') : '';
    const base = /^FROM (\S+)/.exec(text)?.[1] ?? 'scratch';
    if (base !== 'scratch' && !made.has(base)) {
      return {
        ...{ kind: 'failed', message: `${base} is not there`, file: 'Dockerfile', line: 1, column: 1 },
        ...{ instruction: text.trim(), isFinal: false, reason: 'NotFound', output: [], missingImage: base },
      };
    }
    for (const reference of request.references) made.add(reference);
    return build(request, options);
  };
  const [one, two] = ['docker.io/shop/one:1', 'docker.io/shop/two:1'];
  await create('one', { build: inline(`FROM ${two}\n`), tags: [one] });
  await create('two', { build: inline(`FROM ${one}\n`), tags: [two] });
  const failed = await reach('one', 'Ready', 'BuildCircle');
  await reach('two', 'Ready', 'BuildCircle');
  assert.equal(failed.status?.waitsFor, two);
  assert.equal(
    conditionOf(failed, 'Built')?.message,
    'images are built from each other, so that none can be the first: ' +
      `"one" from ${two} of "two", "two" from ${one} of "one". Dockerfile:1:1: FROM ${two}: ${two} is not there`,
  );
  await images().mergePatch('one', 'default', { spec: { build: inline('FROM scratch\n') } });
  const built = await reach('one', 'Ready', 'Built');
  assert.equal(built.status?.waitsFor, undefined);
  await reach('two', 'Ready', 'Built');
});

test('a build that the runtime drops starts over', async () => {
  let tries = 0;
  runtime.builder.build = async (request, options) => {
    tries += 1;
    if (tries === 1) throw new WindlassError('Unavailable', 'the runtime is gone');
    return build(request, options);
  };
  await create('dropped', { build: inline() });
  await reach('dropped', 'Ready', 'Built');
  assert.equal(tries, 2);
});

test('secrets and logins reach the build and nothing else', async () => {
  const auth = { auths: { 'r.example.org': { username: 'me', password: 'pull-password' } } };
  await create('secretive', {
    build: { ...inline(), secrets: [{ id: 'npm', secretName: 'npm-login', key: 'token' }] },
    imagePullSecrets: [{ name: 'login' }],
  });
  const missing = await reach('secretive', 'Ready', 'SecretNotFound');
  const wanted = 'spec.build.secrets[0].secretName: secret "npm-login" not found';
  assert.equal(conditionOf(missing, 'Ready')?.message, wanted);
  const secret = (name: string, data: Record<string, string>): Promise<Secret> =>
    client.kind<Secret>(secretKind).create({
      metadata: { name, namespace: 'default' },
      data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString('base64')])),
    });
  await secret('npm-login', { token: 'npm-password' });
  await secret('login', { '.dockerconfigjson': JSON.stringify(auth) });
  const ready = await reach('secretive', 'Ready', 'Built');
  const request = runtime.builds.at(-1);
  assert.deepEqual(
    request?.secrets.map(({ id, data }) => [id, data.toString()]),
    [['npm', 'npm-password']],
  );
  assert.deepEqual(request?.credentials, [{ registry: 'r.example.org', username: 'me', password: 'pull-password' }]);
  const seen = JSON.stringify(ready) + (await kubectl('get', 'events', '-o', 'json'));
  assert.doesNotMatch(seen + (await kubectl('get', '--raw', logPath('secretive'))), /npm-password|pull-password/);
});

test('what is missing on the node is named with its field', async () => {
  await create('nowhere', { build: { context: { hostPath: '/no/such/folder' } } });
  const nowhere = await reach('nowhere', 'Ready', 'ContextNotFound');
  const wanted = 'spec.build.context.hostPath: /no/such/folder on node n1 does not exist';
  assert.equal(conditionOf(nowhere, 'Ready')?.message, wanted);
  await create('off-net', { build: { ...inline(), network: 'nope' } });
  const offNet = await reach('off-net', 'Ready', 'NetworkNotFound');
  assert.equal(conditionOf(offNet, 'Ready')?.message, 'spec.build.network: network "nope" not found');
  const digest = `sha256:${'a'.repeat(64)}`;
  await create('unsent', { build: { context: { archive: digest } } });
  const unsent = await reach('unsent', 'Ready', 'ArchiveNotFound');
  assert.match(
    conditionOf(unsent, 'Ready')?.message ?? '',
    /^spec\.build\.context\.archive: namespace "default" has no/,
  );
});

const ARCHIVES = '/apis/windlass.dev/v1/namespaces/default/archives';
const archives = () => client.kind<Archive>(archiveKind);

test('an archive is uploaded with kubectl or curl, listed, built from, imported, and kept while it is named', async () => {
  const bytes = await makeTar('hello\n');
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const file = join(folder, 'context.tar');
  await writeFile(file, bytes);
  const made = JSON.parse(await kubectl('create', '--raw', ARCHIVES, '-f', file)) as Archive;
  assert.equal(made.digest, digest);
  assert.equal(made.sizeBytes, bytes.length);
  assert.deepEqual(made.nodes, ['n1']);
  assert.ok(Date.parse(made.expiresAt ?? '') > Date.now() + 23 * 3600 * 1000);
  assert.deepEqual(runtime.blobs.get(digest), bytes);
  assert.deepEqual(readdirSync(join(folder, 'home', 'agent', 'uploads')), []);
  assert.match(await kubectl('get', 'archives'), new RegExp(`${archiveName(digest)}\\s+${digest}\\s+10240\\s+n1`));

  const again = await api.request('POST', ARCHIVES, { body: bytes, headers: { 'content-type': 'application/x-tar' } });
  assert.equal(again.status, 201, again.text);
  assert.equal(again.json<Archive>().metadata.uid, made.metadata.uid);

  await create('from-archive', { build: { context: { archive: digest } } });
  await create('imported', { import: { archive: digest } });
  await reach('from-archive', 'Ready', 'Built');
  await reach('imported', 'Ready', 'Imported');
  assert.deepEqual(runtime.builds.at(-1)?.context, { kind: 'archive', digest });
  const expiry = async (): Promise<string | null | undefined> =>
    (await archives().get(archiveName(digest), 'default'))?.expiresAt;
  await waitFor(async () => !(await expiry()), { what: 'the archive to be in use', timeoutMs: PATIENCE_MS });
  await images().delete('from-archive', 'default', {});
  await images().delete('imported', 'default', {});
  await waitFor(expiry, { what: 'the archive to be out of use', timeoutMs: PATIENCE_MS });
  const past = { expiresAt: '2026-01-01T00:00:00Z' };
  await archives().mergePatch(archiveName(digest), 'default', past);
  await waitFor(async () => !(await archives().get(archiveName(digest), 'default')), { timeoutMs: PATIENCE_MS });
  await waitFor(() => !runtime.blobs.has(digest), { what: 'the bytes to be gone', timeoutMs: PATIENCE_MS });
});

test('uploads that cannot be taken are refused, and leave nothing', async () => {
  const post = (path: string, body: Buffer, as?: KeyPair) => api.request('POST', path, { body, ...(as ? { as } : {}) });
  const zeros = (bytes: number, last: number): Buffer => Buffer.concat([Buffer.alloc(bytes - 1), Buffer.from([last])]);
  const tooLarge = await post(ARCHIVES, Buffer.alloc(LIMITS.maxBytes + 1, 'x'));
  assert.equal(tooLarge.status, 413, tooLarge.text);
  assert.match(tooLarge.text, /an archive may have 100kB at most/);
  // Without a length in its head, over HTTP/2: found out on the way.
  const large = join(folder, 'large.tar');
  await writeFile(large, Buffer.alloc(LIMITS.maxBytes * 50));
  await assert.rejects(kubectl('create', '--raw', ARCHIVES, '-f', large), /an archive may have 100kB at most/);
  assert.equal((await post(ARCHIVES, zeros(90_000, 1))).status, 201);
  const overQuota = await post(ARCHIVES, zeros(90_000, 2));
  assert.equal(overQuota.status, 403);
  assert.match(overQuota.text, /exceeded quota: archives of namespace \\"default\\" may have 60kB more/);
  assert.equal((await post(ARCHIVES, Buffer.alloc(0))).status, 400);
  assert.equal((await post('/apis/windlass.dev/v1/namespaces/nope/archives', Buffer.from('x'))).status, 404);
  assert.equal((await post(ARCHIVES, Buffer.from('x'), await api.issue('somebody', []))).status, 403);
  assert.equal((await post(`${ARCHIVES}?dryRun=All`, Buffer.from('x'))).status, 422);
  assert.match((await post(`${ARCHIVES}?nodeName=n9`, Buffer.from('x'))).text, /node \\"n9\\" is not in the cluster/);
  assert.deepEqual(readdirSync(join(folder, 'home', 'agent', 'uploads')), []);
  // An object where bytes are wanted.
  assert.match((await post(ARCHIVES, Buffer.from('{"kind":"Archive"}'))).text, /the body is no tar/);
  assert.match((await post(ARCHIVES, Buffer.alloc(50_000, 'z'))).text, /the body is no tar/);
  // There is room for either, not for both.
  const atOnce = await Promise.all([3, 4].map((last) => post(ARCHIVES, zeros(50_000, last))));
  const statuses = atOnce.map(({ status }) => status);
  assert.deepEqual([Math.min(...statuses), Math.max(...statuses)], [201, 403]);
});

async function makeTar(text: string): Promise<Buffer> {
  const from = await mkdtemp(join(folder, 'tar-'));
  await writeFile(join(from, 'Dockerfile'), text);
  return new Promise((resolve, reject) => {
    execFile('tar', ['-C', from, '-cf', '-', '.'], { encoding: 'buffer' }, (error, stdout) =>
      error ? reject(error) : resolve(stdout),
    );
  });
}

test('logs of Images that went while the agent was away are removed when it is back', async () => {
  const logs = join(folder, 'home', 'builds');
  await create('short', { build: inline() });
  const { metadata } = await reach('short', 'Ready', 'Built');
  const own = join(logs, `default_short_${metadata.uid}`);
  assert.ok(existsSync(own));
  await agent.stop();
  await images().mergePatch('short', 'default', { metadata: { finalizers: [] } });
  await images().delete('short', 'default', {});
  await waitFor(async () => !(await images().get('short', 'default')), { timeoutMs: PATIENCE_MS });
  agent = await startAgent();
  await waitFor(() => !existsSync(own), { what: 'the log to be gone', timeoutMs: PATIENCE_MS });
});
