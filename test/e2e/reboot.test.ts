// A reboot as far as it can be had without one: no process, mount, link, table, control group or run folder is left, only
// the state folder. `windlass up` brings everything back.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import test from 'node:test';
import { freePorts } from '../../cli/ports.ts';
import { describeInstance } from '../../lib/instance.ts';
import { purgeInstance } from '../../runtime-shim/purge.ts';
import { importBusybox } from '../support/busybox.ts';
import { statusOf, waitForStatus } from '../support/containers.ts';
import { startInstance } from '../support/instance.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

test('after a reboot up brings back what should run, and only that', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft', 'kubectl')) return;
  const instance = await startInstance();
  t.after(() => instance[Symbol.asyncDispose]());
  const { kubectlOk } = instance;
  const [port = 0, servicePort = 0] = await freePorts(2);
  await importBusybox(instance);
  await instance.apply(`
apiVersion: windlass.dev/v1
kind: Volume
metadata: { name: data }
spec: {}
---
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: web }
spec:
  imageName: busybox
  command: [sh, -c, "echo run >> /www/runs; exec httpd -f -p 80 -h /www"]
  ports: [{ containerPort: 80, hostPort: ${port} }]
  mounts: [{ mountPath: /www, volume: data }]
---
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: done }
spec:
  imageName: busybox
  restartPolicy: Never
  command: [sh, -c, "echo once >> /d/once"]
  mounts: [{ mountPath: /d, volume: data }]
---
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: stopped }
spec: { imageName: busybox, command: [sleep, "1000000"], desiredState: Stopped }
---
apiVersion: windlass.dev/v1
kind: Service
metadata: { name: many }
spec:
  replicas: 2
  ports: [{ name: http, port: 80, publishedPort: ${servicePort} }]
  template:
    spec: { imageName: busybox, command: [sh, -c, "mkdir /www; echo many > /www/index.html; exec httpd -f -p 80 -h /www"] }`);
  const settled = async (): Promise<void> => {
    await kubectlOk(['wait', '--for=condition=Ready', 'ctr/web', 'svc.windlass.dev/many', '--timeout=60s']);
    await waitForStatus(instance, 'done', ({ phase }) => phase === 'Succeeded');
  };
  const get = async (path: string, at = port): Promise<string> => {
    try {
      const response = await fetch(`http://127.0.0.1:${at}${path}`, { signal: AbortSignal.timeout(2_000) });
      return (await response.text()).trim();
    } catch {
      return '';
    }
  };
  await settled();
  await waitFor(async () => (await get('/runs')) === 'run', { what: 'the published port' });
  const uids = (): Promise<string> => kubectlOk(['get', 'ctr', '-o', 'jsonpath={.items[*].metadata.uid}']);
  const before = { uids: await uids(), web: await statusOf(instance, 'web') };

  assert.equal((await instance.windlass(['down'])).code, 0);
  await purgeInstance(describeInstance(instance.home, instance.run));
  rmSync(instance.run, { recursive: true });

  await instance.up();
  // Until the agent has looked, the status still tells what was so before the reboot.
  await waitForStatus(
    instance,
    'web',
    ({ containerID }) => containerID !== undefined && containerID !== before.web.containerID,
  );
  await settled();
  assert.equal(await uids(), before.uids);
  await waitFor(async () => (await get('/runs')) === 'run\nrun', { what: 'the published port' });
  await waitFor(async () => (await get('/', servicePort)) === 'many', { what: 'the service' });
  assert.equal(await get('/once'), 'once');
  assert.notEqual((await statusOf(instance, 'stopped')).phase, 'Running');
});
