// Debian's nginx as an image of a real registry on loopback: pulled, run, configured, served, replaced, ended.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import test, { type TestContext } from 'node:test';
import { freePorts } from '../../cli/ports.ts';
import { applyContainer, deleteContainers, readyOf, statusOf, waitForStatus } from '../support/containers.ts';
import { unpackProgram } from '../support/debian-package.ts';
import { makeNginxImage, type TestImage } from '../support/images.ts';
import { startInstance } from '../support/instance.ts';
import { startTestRegistry } from '../support/registry.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

/** The program, installed or not. */
const findNginx = async (t: TestContext): Promise<string | undefined> =>
  existsSync('/usr/sbin/nginx') ? '/usr/sbin/nginx' : unpackProgram(t, { name: 'nginx', file: 'usr/sbin/nginx' });

test('nginx from a registry', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft', 'kubectl', 'docker-registry')) return;
  const program = await findNginx(t);
  if (program === undefined) return;
  const image = makeNginxImage(program) as TestImage;
  await using registry = await startTestRegistry();
  const reference = await registry.push(image, 'library/nginx', '1.22');
  await using instance = await startInstance();
  const { kubectl, kubectlOk } = instance;
  const [port = 0, servicePort = 0] = await freePorts(2);
  const get = (at: number, path = '/'): Promise<{ status: number; body: string; server: string | null } | undefined> =>
    fetch(`http://127.0.0.1:${at}${path}`, { headers: { connection: 'close' } }).then(
      async (response) => ({
        status: response.status,
        body: await response.text(),
        server: response.headers.get('server'),
      }),
      () => undefined,
    );

  await t.test('an Image is pulled and described', async () => {
    await instance.apply(
      `{"apiVersion":"windlass.dev/v1","kind":"Image","metadata":{"name":"nginx"},"spec":{"reference":"${reference}"}}`,
    );
    await kubectlOk(['wait', '--for=condition=Ready', 'img/nginx', '--timeout=60s']);
    const { status } = JSON.parse(await kubectlOk(['get', 'img', 'nginx', '-o', 'json'])) as {
      status: { digest: string; layers: unknown[]; config: { exposedPorts: string[]; stopSignal: string } };
    };
    assert.equal(status.digest, image.manifest.digest);
    assert.equal(status.layers.length, 2);
    assert.deepEqual(status.config.exposedPorts, ['80/tcp']);
    assert.equal(status.config.stopSignal, 'SIGQUIT');
  });

  await t.test('it serves on its published port, becomes healthy, and logs requests', async () => {
    await applyContainer(instance, 'web', {
      image: reference,
      ports: [{ containerPort: 80, hostPort: port }],
      healthCheck: { httpGet: { path: '/', port: 80 }, intervalSeconds: 1, startIntervalSeconds: 1 },
      resources: { limits: { memory: '64Mi', cpu: '500m' } },
    });
    await waitForStatus(instance, 'web', (status) => readyOf(status)?.status === 'True');
    const answer = await get(port, '/?asked=by-the-test');
    assert.match(answer?.body ?? '', /Welcome to nginx/);
    assert.match(answer?.server ?? '', /^nginx\/1\./);
    await waitFor(async () => (await kubectlOk(['logs', 'web'])).includes('GET /?asked=by-the-test'), {
      what: 'the request in the log',
    });
    assert.match(await kubectlOk(['exec', 'web', '--', 'nginx', '-v']).catch(String), /^$|nginx/);
  });

  await t.test('a page comes from a ConfigMap on a read-only root, and follows it', async () => {
    await kubectlOk(['create', 'configmap', 'page', '--from-literal=index.html=from a ConfigMap']);
    await kubectlOk([
      'patch',
      'ctr',
      'web',
      '--type=merge',
      '-p',
      JSON.stringify({
        spec: {
          securityContext: { readOnlyRootFilesystem: true },
          mounts: [
            { mountPath: '/usr/share/nginx/html', configMap: { name: 'page' } },
            { mountPath: '/run', tmpfs: {} },
            { mountPath: '/var/lib/nginx', tmpfs: {} },
            { mountPath: '/var/log/nginx', tmpfs: {} },
          ],
        },
      }),
    ]);
    await waitFor(async () => (await get(port))?.body === 'from a ConfigMap', { timeoutMs: 20_000, what: 'the page' });
    await kubectlOk(['patch', 'configmap', 'page', '--type=merge', '-p', '{"data":{"index.html":"changed"}}']);
    await waitFor(async () => (await get(port))?.body === 'changed', { timeoutMs: 90_000, what: 'the new page' });
  });

  await t.test('all exposed ports can be published, and deletion is as graceful as the image says', async () => {
    await applyContainer(instance, 'exposed', {
      imageName: 'nginx',
      publishAllPorts: true,
      terminationGracePeriodSeconds: 60,
    });
    const { ports = [] } = await waitForStatus(instance, 'exposed', (status) => readyOf(status)?.status === 'True');
    assert.deepEqual(
      ports.map(({ containerPort }) => containerPort),
      [80],
    );
    await waitFor(async () => (await get(ports[0]?.hostPort ?? 0))?.status === 200);
    await kubectlOk(['patch', 'ctr', 'exposed', '--type=merge', '-p', '{"spec":{"desiredState":"Stopped"}}']);
    const stopped = await waitForStatus(instance, 'exposed', (status) => readyOf(status)?.reason === 'Stopped');
    assert.deepEqual([stopped.phase, stopped.exitCode], ['Succeeded', 0]);
    await deleteContainers(instance, 'exposed');
  });

  await t.test('an image in use is not deleted; a Service by digest answers during an update', async () => {
    await instance.apply(`
apiVersion: windlass.dev/v1
kind: Service
metadata: { name: site }
spec:
  replicas: 3
  ports: [{ name: http, port: 80, publishedPort: ${servicePort} }]
  updateStrategy: { parallelism: 1, monitorSeconds: 1, order: StartFirst }
  template:
    spec:
      image: ${registry.host}/library/nginx@${image.manifest.digest}
      healthCheck: { tcpSocket: { port: 80 }, intervalSeconds: 1, startIntervalSeconds: 1 }`);
    await kubectlOk(['wait', '--for=condition=Ready', 'services.windlass.dev/site', '--timeout=60s']);
    const failures: unknown[] = [];
    let asked = 0;
    let isUpdating = true;
    const asking = (async () => {
      while (isUpdating) {
        const answer = await get(servicePort);
        asked += 1;
        if (answer?.status !== 200) failures.push(answer ?? 'refused');
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    await kubectlOk([
      'patch',
      'services.windlass.dev/site',
      '--type=merge',
      '-p',
      '{"spec":{"template":{"spec":{"env":[{"name":"REVISION","value":"2"}]}}}}',
    ]);
    const state = (): Promise<string> =>
      kubectlOk([
        'get',
        'services.windlass.dev/site',
        '-o',
        'jsonpath={.status.updatedReplicas} {.status.readyReplicas}',
      ]);
    await waitFor(async () => (await state()) === '3 3', { timeoutMs: 90_000, what: 'the update' });
    isUpdating = false;
    await asking;
    assert.deepEqual(failures, [], `${failures.length} of ${asked} requests failed`);
    const refused = await kubectl(['delete', 'img', 'nginx', '--timeout=3s']);
    assert.equal(refused.code, 1);
    assert.match(await kubectlOk(['get', 'img', 'nginx', '-o', 'wide']), /web/);
    assert.equal((await statusOf(instance, 'web')).phase, 'Running');
    await kubectlOk(['delete', 'services.windlass.dev/site', '--timeout=60s']);
    await deleteContainers(instance, 'web');
    await kubectlOk(['wait', '--for=delete', 'img/nginx', '--timeout=60s']);
  });
});
