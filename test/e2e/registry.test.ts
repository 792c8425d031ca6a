// The built-in registry as its users meet it: skopeo pushes, an Image pulls and pushes, the process dies and comes back.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { readUpState } from '../../cli/up-state.ts';
import { describeInstance } from '../../lib/instance.ts';
import { makeBusyboxImage, makeImage, writeOciLayout } from '../support/images.ts';
import { createInstance, runCommand } from '../support/instance.ts';
import { sendTo } from '../support/live-registry.ts';
import { freePorts } from '../../cli/ports.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

const program = fileURLToPath(new URL('../../bin/windlass', import.meta.url));

function makeFolder(t: { after(task: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-test-images-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test('the registry of windlass up', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft', 'kubectl', 'skopeo')) return;
  const host = `127.0.0.1:${(await freePorts(1))[0]}`;
  const instance = await createInstance({ env: { WINDLASS_REGISTRY_LISTEN: host } });
  t.after(() => instance[Symbol.asyncDispose]());
  await instance.up();
  const folder = makeFolder(t);
  writeOciLayout(folder, makeBusyboxImage({ Cmd: ['sleep', '1000'] }), 'box');
  const token = readFileSync(join(instance.home, 'pki/tokens.csv'), 'utf8').split(',')[0] ?? '';
  const pushTo = (repository: string, ...credentials: string[]) =>
    runCommand('skopeo', [
      'copy',
      '--dest-tls-verify=false',
      ...credentials,
      `oci:${folder}:box`,
      `docker://${host}/${repository}:v1`,
    ]);
  const push = (...credentials: string[]) => pushTo('default/box', ...credentials);

  await t.test('who has no token cannot push', async () => {
    const { code, stderr } = await push();
    assert.equal(code, 1);
    assert.match(stderr, /unauthorized|authentication required/);
    assert.match((await push('--dest-creds', 'admin:guess')).stderr, /unauthorized|invalid username\/password/);
  });

  await t.test('the administrator pushes, and a Container of it runs', async () => {
    const { code, stderr } = await push('--dest-creds', `admin:${token}`);
    assert.equal(code, 0, stderr);
    await instance.apply(
      `{apiVersion: windlass.dev/v1, kind: Container, metadata: {name: box}, spec: {image: "${host}/default/box:v1"}}`,
    );
    await instance.kubectlOk(['wait', '--for=condition=Ready', 'ctr/box', '--timeout=60s']);
  });

  await t.test('a user pushes where a role lets it, and nowhere else', async () => {
    appendFileSync(join(instance.home, 'pki/tokens.csv'), 'the-secret-of-bob,bob,bob,\n');
    await instance.kubectlOk(['create', 'namespace', 'lab']);
    await instance.kubectlOk(['create', 'rolebinding', 'bobs', '--clusterrole=edit', '--user=bob', '-n', 'lab']);
    const credentials = ['--dest-creds', 'bob:the-secret-of-bob'];
    await waitFor(async () => (await pushTo('lab/box', ...credentials)).code === 0, {
      what: 'bob to push to lab',
      timeoutMs: 30_000,
    });
    const { code, stderr } = await push(...credentials);
    assert.equal(code, 1);
    assert.match(stderr, /bob may not push default\/box/);
  });

  await t.test('an Image pushes what it has under another name', async () => {
    const auth = Buffer.from(`admin:${token}`).toString('base64');
    const secret = Buffer.from(JSON.stringify({ auths: { [host]: { auth } } })).toString('base64');
    await instance.apply(`apiVersion: v1
kind: Secret
metadata: {name: registry}
type: kubernetes.io/dockerconfigjson
data: {.dockerconfigjson: ${secret}}
---
apiVersion: windlass.dev/v1
kind: Image
metadata: {name: box}
spec:
  reference: ${host}/default/box:v1
  push: [{reference: "${host}/shop/copy:v2", secretName: registry}]`);
    await instance.kubectlOk(['wait', '--for=condition=Pushed', 'image/box', '--timeout=60s']);
    const { status, body } = await sendTo(host, 'GET', '/v2/shop/copy/tags/list');
    assert.deepEqual([status, JSON.parse(body.toString())], [200, { name: 'shop/copy', tags: ['v2'] }]);
  });

  await t.test('it is killed, is started again, and has everything', async () => {
    const identity = describeInstance(instance.home, instance.run);
    const find = () => readUpState(identity)?.components.find(({ name }) => name === 'registry');
    const before = find()?.process?.pid ?? 0;
    process.kill(before, 'SIGKILL');
    await waitFor(() => find()?.state === 'ready' && find()?.process?.pid !== before, {
      what: 'the registry to be back',
    });
    const { status } = await sendTo(host, 'GET', '/v2/default/box/manifests/v1');
    assert.equal(status, 200);
  });

  await t.test('its metrics are found by Prometheus', async () => {
    await waitFor(async () => (await instance.kubectlOk(['get', '--raw', '/metrics/targets'])).includes('"registry"'), {
      what: 'the registry among the targets',
    });
  });
});

test('a second registry on a port that is taken says what to do', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft')) return;
  const host = `127.0.0.1:${(await freePorts(1))[0]}`;
  const first = startAlone(makeFolder(t), host);
  t.after(() => first.child.kill('SIGKILL'));
  await first.listens();
  const instance = await createInstance({ env: { WINDLASS_REGISTRY_LISTEN: host } });
  t.after(() => instance[Symbol.asyncDispose]());
  const { code, stderr } = await instance.windlass(['up', '--listen', instance.listen, '--detach']);
  assert.equal(code, 4);
  assert.match(
    stderr,
    new RegExp(`${host} is already in use; .* choose another address with --registry-listen, or none`),
  );
});

test('windlass registry alone', async (t) => {
  if (!requirePrograms(t, 'skopeo')) return;
  const host = `127.0.0.1:${(await freePorts(1))[0]}`;
  const [root, folder] = [makeFolder(t), makeFolder(t)];
  const files = Array.from({ length: 4 }, (_, index) => [{ name: `f${index}`, content: randomBytes(2_000_000) }]);
  const image = makeImage({ layers: files, compression: 'gzip' });
  writeOciLayout(folder, image, 'big');
  const copy = (...args: string[]) =>
    runCommand('skopeo', ['copy', '--src-tls-verify=false', '--dest-tls-verify=false', ...args]);

  await t.test('skopeo pushes to it, pulls from it after a kill, and finds the same bytes', async () => {
    const first = startAlone(root, host);
    t.after(() => first.child.kill('SIGKILL'));
    await first.listens();
    assert.equal((await copy(`oci:${folder}:big`, `docker://${host}/a/big:v1`)).code, 0);
    first.child.kill('SIGKILL');
    await first.ended;
    const second = startAlone(root, host);
    t.after(() => second.child.kill('SIGKILL'));
    await second.listens();
    const out = makeFolder(t);
    const { code, stderr } = await copy(`docker://${host}/a/big:v1`, `oci:${out}:big`);
    assert.equal(code, 0, stderr);
    for (const { digest } of image.layers) {
      assert.deepEqual(readFileSync(join(out, 'blobs', digest.replace(':', '/'))), image.blobs.get(digest));
    }
    second.child.kill('SIGTERM');
    assert.deepEqual(await second.ended, [0, null]);
  });

  await t.test('flags that do not fit one another are refused by name', async () => {
    for (const [flags, problem] of [
      [['--listen', '0.0.0.0:5050'], /--listen 0\.0\.0\.0:5050 needs --tls-cert and --tls-key/],
      [['--access', 'cluster'], /--access cluster needs --kubeconfig/],
      [['--quota=-1'], /invalid --quota: must not be negative/],
      [['--upstream', 'no host'], /invalid --upstream "no host": want a registry host/],
      [['--what'], /unknown option '--what'/i],
    ] as const) {
      const { code, stderr } = await runCommand(program, ['registry', '--root', root, ...flags]);
      assert.notEqual(code, 0, flags.join(' '));
      assert.match(stderr, problem);
    }
  });
});

function startAlone(root: string, host: string) {
  const child = spawn(program, ['registry', '--root', root, '--listen', host], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.on('data', (chunk: Buffer) => (log += chunk.toString()));
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const listens = () =>
    waitFor(() => log.includes('"msg":"serving"'), { what: 'the registry to listen', timeoutMs: 60_000 });
  return { child, ended, listens };
}
