import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import test from 'node:test';
import { describeInstance } from '../../lib/instance.ts';
import { takeHostSnapshot } from '../support/host-snapshot.ts';
import { createInstance, runCommand, type CommandResult } from '../support/instance.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { importBusybox } from '../support/busybox.ts';

test('windlass up, down and down --purge', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft', 'kubectl')) return;
  const instance = await createInstance();
  t.after(() => instance[Symbol.asyncDispose]());
  const identity = describeInstance(instance.home, instance.run);
  const before = takeHostSnapshot(identity);

  await t.test('up --detach starts every component and says where things are; of two at once one starts', async () => {
    const start = (): Promise<CommandResult> => instance.windlass(['up', '--detach', '--listen', instance.listen]);
    const both = (await Promise.all([start(), start()])).toSorted((a, b) => a.code - b.code);
    const [result, other] = both as [CommandResult, CommandResult];
    assert.equal(result.code, 0, result.stderr);
    assert.equal(other.code, 4, other.stderr);
    assert.match(other.stderr, /already running as process \d+/);
    for (const name of ['etcd', 'apiserver', 'runtime-shim', 'controllers', 'node-agent'])
      assert.match(result.stderr, new RegExp(`✔ ${name} `));
    assert.ok(result.stderr.includes(instance.kubeconfig));
  });

  await t.test('the state folder is closed to other users', () => {
    assert.deepEqual(
      [instance.home, instance.kubeconfig, instance.run].map((path) => statSync(path).mode & 0o077),
      // Root of a user namespace, who is somebody else outside, passes through the run folder; nobody lists it.
      [0, 0, 0o011],
    );
  });

  await t.test('a second up is a conflict that names the process', async () => {
    const result = await instance.windlass(['up', '--listen', instance.listen]);
    assert.equal(result.code, 4);
    assert.match(result.stderr, /already running as process \d+/);
  });

  await t.test('down stops the processes and leaves containers running; up finds them again', async () => {
    await importBusybox(instance);
    await instance.apply(`
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: stays }
spec: { imageName: busybox, command: [sleep, "1000000"] }`);
    await instance.kubectlOk(['wait', '--for=condition=Ready', 'ctr/stays', '--timeout=30s']);
    const containerId = await instance.kubectlOk([
      'get',
      'ctr',
      'stays',
      '-o',
      'jsonpath={.status.containerID} {.status.startedAt} {.status.restartCount}',
    ]);
    assert.equal((await instance.windlass(['down'])).code, 0);
    assert.equal((await runCommand('kubectl', ['get', '--raw', '/version'], { env: instance.env })).code, 1);
    assert.equal(takeHostSnapshot(identity).networkNamespaces.length > 0, true);
    await instance.up();
    await instance.kubectlOk(['wait', '--for=condition=Ready', 'ctr/stays', '--timeout=30s']);
    const again = await instance.kubectlOk([
      'get',
      'ctr',
      'stays',
      '-o',
      'jsonpath={.status.containerID} {.status.startedAt} {.status.restartCount}',
    ]);
    assert.equal(again, containerId);
  });

  await t.test('down --purge leaves no trace', async () => {
    await instance.apply(`
apiVersion: windlass.dev/v1
kind: Service
metadata: { name: web }
spec:
  replicas: 2
  ports: [{ name: http, port: 80 }]
  template:
    spec:
      imageName: busybox
      command: [httpd, -f, -p, "80"]
      mounts: [{ mountPath: /data }]`);
    await instance.kubectlOk(['wait', '--for=condition=Ready', 'svc.windlass.dev/web', '--timeout=60s']);
    assert.equal((await instance.windlass(['down', '--purge'])).code, 0);
    assert.deepEqual(takeHostSnapshot(identity), before);
    assert.deepEqual([existsSync(instance.home), existsSync(instance.run)], [false, false]);
  });

  await t.test('down --purge of what is not a windlass folder is refused', async () => {
    const result = await runCommand('bash', [
      'bin/windlass',
      'down',
      '--purge',
      '--home',
      '/usr/share',
      '--run',
      instance.run,
    ]);
    assert.equal(result.code, 4);
    assert.match(result.stderr, /\/usr\/share exists and is not a windlass folder/);
  });
});
