// etcd that is not there at start, dies, or hangs: answers stay quick and clear, and nothing is lost.
import assert from 'node:assert/strict';
import test from 'node:test';
import { createApiClient } from '../../client/api-client.ts';
import type { ApiClient } from '../../client/client.ts';
import { readKubeconfig } from '../../client/kubeconfig.ts';
import { namespaceKind, type Namespace } from '../../crds/builtin.ts';
import { containerKind, type Container } from '../../crds/container.ts';
import { importBusybox } from '../support/busybox.ts';
import { startTestEtcd } from '../support/etcd.ts';
import { createInstance } from '../support/instance.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

const container = (name: string): string =>
  `{ apiVersion: windlass.dev/v1, kind: Container, metadata: { name: ${name} }, spec: { imageName: busybox, command: [sleep, "1000000"], terminationGracePeriodSeconds: 1 } }`;

test('etcd down at start and in the middle', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft', 'kubectl')) return;
  const etcd = await startTestEtcd({ start: false });
  t.after(() => etcd[Symbol.asyncDispose]());
  const instance = await createInstance();
  t.after(() => instance[Symbol.asyncDispose]());
  const { kubectl, kubectlOk } = instance;
  const isReady = async (): Promise<boolean> => (await kubectl(['get', '--raw', '/readyz'])).code === 0;
  // Not kubectl: it tries for ten seconds when it is told to come back later.
  const connect = (): ApiClient => createApiClient(readKubeconfig(instance.kubeconfig));
  const assertUnavailable = async (request: (api: ApiClient) => Promise<unknown>): Promise<void> => {
    const api = connect();
    const startedAt = performance.now();
    try {
      await assert.rejects(request(api), /the store/);
      assert.ok(performance.now() - startedAt < 10_000, `after ${Math.round(performance.now() - startedAt)} ms`);
    } finally {
      await api.close();
    }
  };
  const list = (api: ApiClient): Promise<unknown> => api.kind<Container>(containerKind).list({ namespace: 'default' });
  const label = (api: ApiClient): Promise<unknown> =>
    api.kind<Container>(containerKind).mergePatch('stays', 'default', { metadata: { labels: { a: 'b' } } });
  const createNamespace = (api: ApiClient): Promise<unknown> =>
    api.kind<Namespace>(namespaceKind).create({ metadata: { name: 'never' } });

  await t.test('up without etcd says that it waits, and goes on when etcd comes', async () => {
    const up = await instance.windlass([
      ...['up', '--detach', '--listen', instance.listen, '--etcd-servers', etcd.url, '--timeout-seconds', '5'],
    ]);
    assert.equal(up.code, 124, up.stderr);
    assert.match(up.stderr, /not ready after 5 s; it goes on trying in the background/);
    await waitFor(async () => (await kubectl(['get', '--raw', '/livez'])).stdout === 'ok', {
      what: 'the server',
      timeoutMs: 30_000,
    });
    assert.equal(await isReady(), false);
    await assertUnavailable(list);
    await etcd.start();
    await waitFor(isReady, { what: 'readiness', timeoutMs: 60_000 });
    await waitFor(
      async () => (await kubectl(['wait', '--for=condition=Ready', 'node', '--all', '--timeout=1s'])).code === 0,
      {
        what: 'the node',
        timeoutMs: 60_000,
      },
    );
  });

  await importBusybox(instance);
  await instance.apply(container('stays'));
  await kubectlOk(['wait', '--for=condition=Ready', 'ctr/stays', '--timeout=30s']);
  const identityOf = (): Promise<string> =>
    kubectlOk([
      ...['get', 'ctr', 'stays', '-o'],
      'jsonpath={.metadata.uid} {.status.containerID} {.status.startedAt} {.status.restartCount}',
    ]);
  const before = await identityOf();
  const works = async (name: string): Promise<void> => {
    await waitFor(isReady, { what: 'readiness', timeoutMs: 60_000 });
    assert.equal(await identityOf(), before);
    await instance.apply(container(name));
    await kubectlOk(['wait', '--for=condition=Ready', `ctr/${name}`, '--timeout=30s']);
    await kubectlOk(['delete', 'ctr', name, '--timeout=30s']);
  };

  await t.test('killed: writes fail quickly, the container runs on, all goes on when it is back', async () => {
    await etcd.kill();
    await assertUnavailable(label);
    await assertUnavailable(createNamespace);
    assert.equal((await kubectl(['get', '--raw', '/livez'])).stdout, 'ok');
    assert.equal(await isReady(), false);
    await etcd.start();
    await works('after-kill');
    assert.equal((await kubectl(['get', 'namespace', 'never'])).code, 1);
  });

  await t.test('hanging: requests end within their limit, all goes on when it wakes', async () => {
    etcd.signal('SIGSTOP');
    try {
      await assertUnavailable(label);
    } finally {
      etcd.signal('SIGCONT');
    }
    await works('after-hang');
  });
});
