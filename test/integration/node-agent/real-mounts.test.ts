// What containers mount and share, with the real kernel.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { mountTmpfs, umount } from '../../../runtime-shim/host/mount.ts';
import { runCommand } from '../../support/instance.ts';
import { realNodeOfFile } from '../../support/real-node.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

const node = realNodeOfFile();
const SLEEP = 'args: [sleep, "1000"]';

test('an image is mounted read-only, whole and in part', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'runc', 'conmon', 'kubectl')) return;
  await node().make(
    'viewer',
    `${SLEEP}, mounts: [{ mountPath: /all, image: { reference: busybox } }, { mountPath: /part, subPath: bin, image: { reference: busybox } }]`,
  );
  await node().reach('viewer', /^Running$/);
  const script = 'test -x /all/bin/busybox && test -e /part/sh && echo there; touch /all/x 2>&1; true';
  assert.match(await node().sh('viewer', script), /^there\n.*Read-only file system$/);
  await node().make('nopart', `${SLEEP}, mounts: [{ mountPath: /x, subPath: no/such, image: { reference: busybox } }]`);
  await node().reach('nopart', /^CreateFailed$/);
  assert.match(await node().status('nopart', 'message'), /no\/such is not in image/);
  await node().remove('viewer', 'nopart');
});

test('volumesFrom mounts what the other has, anonymous volumes and read-only too', async (t) => {
  if (!requireRoot(t)) return;
  const anonymous = async (): Promise<string[]> =>
    (await node().kubectlOk(['get', 'volumes', '-o', 'name']))
      .split('\n')
      .filter((name) => name && !/shared/.test(name));
  const earlier = await anonymous();
  await node().put(`
apiVersion: windlass.dev/v1
kind: Volume
metadata: { name: shared }
spec: {}`);
  await node().make('owner', `${SLEEP}, mounts: [{ mountPath: /data, volume: shared }], anonymousVolumes: Delete`);
  await node().make('reader', `${SLEEP}, volumesFrom: [{ container: owner, readOnly: true }]`);
  await node().make('writer', `${SLEEP}, volumesFrom: [{ container: owner }]`);
  for (const name of ['owner', 'reader', 'writer']) await node().reach(name, /^Running$/);
  assert.equal((await anonymous()).length, earlier.length + 1);
  await node().sh('writer', 'echo named > /data/file; echo anonymous > /scratch/file');
  assert.equal(await node().sh('owner', 'cat /data/file /scratch/file'), 'named\nanonymous');
  assert.match(await node().sh('reader', 'cat /data/file; touch /data/x 2>&1; true'), /^named\n.*Read-only/);
  await node().remove('reader', 'writer', 'owner');
  // The other two never had one of their own for /scratch: it was the owner's.
  await waitFor(async () => (await anonymous()).join() === earlier.join(), { timeoutMs: 15_000 });
});

test('a folder of a volume that became a link is not followed, borrowed or not', async (t) => {
  if (!requireRoot(t)) return;
  await node().put(`
apiVersion: windlass.dev/v1
kind: Volume
metadata: { name: swapped }
spec: {}`);
  await node().make('whole', `${SLEEP}, mounts: [{ mountPath: /all, volume: swapped }]`);
  await node().make('part', `${SLEEP}, mounts: [{ mountPath: /part, volume: swapped, subPath: deep/er }]`);
  await node().reach('part', /^Running$/);
  await node().sh('part', 'touch /part/mine');
  assert.equal(await node().sh('whole', 'ls /all/deep/er'), 'mine');
  await node().make('lender', `${SLEEP}, volumesFrom: [{ container: part }]`);
  await node().reach('lender', /^Running$/);
  assert.equal(await node().sh('lender', 'ls /part'), 'mine');
  await node().sh('whole', 'rm -r /all/deep/er; ln -s /etc /all/deep/er');
  await node().make('thief', `${SLEEP}, volumesFrom: [{ container: part }]`);
  await node().reach('thief', /^CreateFailed$/);
  assert.match(await node().status('thief', 'message'), /is a link, which is not followed/);
  await node().remove('whole', 'part', 'lender', 'thief');
});

test('mount propagation: private stays apart, a slave sees the host, a shared one shows both ways', async (t) => {
  if (!requireRoot(t)) return;
  const root = mkdtempSync(join(tmpdir(), 'windlass-propagation-'));
  const targets = ['host', 'inner'].map((name) => join(root, name));
  mountTmpfs(root, 'mode=755');
  try {
    for (const target of targets) mkdirSync(target);
    const { stderr, code } = await runCommand('mount', ['--make-shared', root]);
    assert.equal(code, 0, stderr);
    for (const propagation of ['Private', 'HostToContainer', 'Bidirectional']) {
      const name = propagation.toLowerCase();
      await node().make(
        name,
        `${SLEEP}, securityContext: { privileged: true }, mounts: [{ mountPath: /m, hostPath: ${root}, propagation: ${propagation} }]`,
      );
      await node().reach(name, /^Running$/);
    }
    mountTmpfs(join(root, 'host'), 'mode=755');
    writeFileSync(join(root, 'host', 'late'), '');
    const sees = (name: string, path: string): Promise<string> =>
      node().sh(name, `test -e ${path} && echo yes || echo no`);
    assert.deepEqual(
      [await sees('private', '/m/host/late'), await sees('hosttocontainer', '/m/host/late')],
      ['no', 'yes'],
    );
    await node().sh('hosttocontainer', 'mount -t tmpfs none /m/inner && touch /m/inner/slave');
    assert.equal(await sees('bidirectional', '/m/inner/slave'), 'no');
    await node().sh('bidirectional', 'mount -t tmpfs none /m/inner && touch /m/inner/shared');
    assert.equal(existsSync(join(root, 'inner', 'shared')), true);
    await node().remove('private', 'hosttocontainer', 'bidirectional');
  } finally {
    for (const target of [...targets, root]) umount(target, 2);
    rmSync(root, { recursive: true, force: true });
  }
});

test('a ConfigMap that changes reaches the running container; a single file of it does not', async (t) => {
  if (!requireRoot(t)) return;
  const write = (value: string): Promise<string> =>
    node().put(`
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: { a: ${value} }`);
  await write('old');
  await node().make(
    'reader',
    `${SLEEP}, mounts: [{ mountPath: /cfg, configMap: { name: settings } }, { mountPath: /one, subPath: a, configMap: { name: settings } }]`,
  );
  await node().reach('reader', /^Running$/);
  await write('new');
  await waitFor(async () => (await node().sh('reader', 'cat /cfg/a')) === 'new', {
    timeoutMs: 70_000,
    intervalMs: 500,
  });
  assert.equal(await node().sh('reader', 'cat /one'), 'old');
  await node().remove('reader');
});

test('namespaces are shared: addresses, processes, shared memory', async (t) => {
  if (!requireRoot(t)) return;
  await node().make('base', `args: [sh, -c, 'httpd -f -p 8080 -h /etc & exec sleep 1000']`);
  await node().make('guest', `${SLEEP}, shareNamespaces: { network: base, pid: base, ipc: base }`);
  await node().reach('guest', /^Running$/);
  assert.equal(await node().sh('guest', 'wget -qO- http://127.0.0.1:8080/hostname'), 'base');
  assert.match(await node().sh('guest', 'ps'), /httpd -f -p 8080/);
  await node().sh('base', 'echo hello > /dev/shm/note');
  assert.equal(await node().sh('guest', 'cat /dev/shm/note'), 'hello');
  assert.equal(await node().status('guest', 'networks'), '');
  await node().remove('guest', 'base');
});

test('variables in commands, and host-gateway among the host aliases', async (t) => {
  if (!requireRoot(t)) return;
  const server = createServer((_, response) => response.end('from the node'));
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
  try {
    const { port } = server.address() as { port: number };
    await node().make(
      'words',
      `command: [sh, -c], args: ['echo "$(A) $$(A) $(NONE)"; wget -qO- http://$(HOST):${port}/; exec sleep 1000'], env: [{ name: HOST, value: node.test }, { name: A, value: 'a $(HOST)' }], hostAliases: [{ ip: host-gateway, hostnames: [node.test] }]`,
    );
    await node().reach('words', /^Running$/);
    await waitFor(async () => (await node().kubectlOk(['logs', 'words'])).includes('from'), { timeoutMs: 10_000 });
    // $$(A) and $(NONE) are left to the shell, for which they are commands.
    assert.match(await node().kubectlOk(['logs', 'words']), /^a node\.test /m);
    const refused = await node()
      .put(`
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: bad }
spec: { image: busybox, hostAliases: [{ ip: somewhere, hostnames: [x] }] }`)
      .catch(String);
    assert.match(refused, /or host-gateway/);
    await node().remove('words');
  } finally {
    server.close();
  }
});

test('a probe over HTTP makes a container healthy or not', async (t) => {
  if (!requireRoot(t)) return;
  await node().make(
    'web',
    `args: [sh, -c, 'mkdir /www; exec httpd -f -p 8080 -h /www'], onUnhealthy: None, healthCheck: { httpGet: { path: /ok, port: 8080 }, intervalSeconds: 1, retries: 2 }`,
  );
  await node().reach('web', /^Unhealthy$/);
  assert.match(await node().status('web', 'health.output'), /HTTP status 404/);
  await node().sh('web', 'touch /www/ok');
  await node().reach('web', /^Healthy$/);
  await node().remove('web');
});
