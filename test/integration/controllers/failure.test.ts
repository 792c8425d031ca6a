import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { nodeKind, type Node } from '../../../crds/builtin.ts';
import { containerKind } from '../../../crds/container.ts';
import { serviceKind } from '../../../crds/service.ts';
import { startTestApiserver } from '../../support/apiserver.ts';
import { startTestControllers } from '../../support/controllers.ts';
import { makeContainer, makeService } from '../../support/objects.ts';
import { startPretendAgent } from '../../support/pretend-agent.ts';
import { requirePrograms } from '../../support/require.ts';
import { startTcpGate } from '../../support/tcp-gate.ts';
import { waitFor } from '../../support/wait.ts';

/** On a busy machine a process may take half a minute to its first line. */
const SLOW_MS = 90_000;

test('the controllers through failures', async (t) => {
  if (!requirePrograms(t, 'etcd')) return;
  await using api = await startTestApiserver();
  await using first = startTestControllers(api.kubeconfig, ['--lease-duration-seconds', '2']);
  await using agent = await startPretendAgent(api.kubeconfig, 'n1');
  await using dying = await startPretendAgent(api.kubeconfig, 'n2');
  await using third = await startPretendAgent(api.kubeconfig, 'n3');
  const services = agent.client.kind(serviceKind);
  const containers = agent.client.kind(containerKind);
  const nodes = agent.client.kind<Node>(nodeKind);
  const create = (name: string, replicas: number): Promise<unknown> =>
    services.create({ metadata: { name, namespace: 'default' }, spec: makeService(name, { replicas }).spec });
  const scale = (replicas: number): Promise<unknown> => services.mergePatch('web', 'default', { spec: { replicas } });
  const converged = (name: string, replicas: number): Promise<unknown> =>
    waitFor(
      async () => {
        const status = (await services.get(name, 'default'))?.status;
        return status?.readyReplicas === replicas && status.replicas === replicas;
      },
      { what: `${name} with ${replicas} Ready`, timeoutMs: SLOW_MS },
    );
  const taintsOf = async (name: string): Promise<boolean> =>
    ((await nodes.get(name, undefined))?.spec?.taints ?? []).length > 0;
  const given = (): number => agent.seen.size + dying.seen.size + third.seen.size;

  await t.test('a leader that is killed in the middle of a scale is succeeded, and nothing is done twice', async () => {
    await waitFor(() => first.isLeader(), { timeoutMs: SLOW_MS, what: 'the first leader' });
    await create('web', 3);
    await converged('web', 3);
    await using standby = startTestControllers(api.kubeconfig, ['--lease-duration-seconds', '2']);
    await waitFor(() => standby.metricsAddress(), { timeoutMs: SLOW_MS });
    await scale(40);
    await waitFor(async () => (await containers.list({ namespace: 'default' })).items.length > 5, {
      intervalMs: 5,
      timeoutMs: SLOW_MS,
    });
    await first.kill('SIGKILL');
    await converged('web', 40);
    assert.ok(standby.isLeader());
    assert.equal(given(), 40);
    await standby.kill('SIGTERM');
    assert.equal(standby.process.exitCode, 0);
  });

  await t.test('a leader that was killed on this machine keeps its successor waiting for no time', async () => {
    const victim = startTestControllers(api.kubeconfig, ['--lease-duration-seconds', '120']);
    await waitFor(() => victim.isLeader(), { timeoutMs: SLOW_MS });
    await victim.kill('SIGKILL');
    await using successor = startTestControllers(api.kubeconfig, ['--lease-duration-seconds', '120']);
    await waitFor(() => successor.isLeader(), { timeoutMs: SLOW_MS });
    await scale(4);
    await converged('web', 4);
    await successor.kill('SIGTERM');
  });

  await t.test('the store being away for a while stops nothing for good and kills no node', async () => {
    await using controllers = startTestControllers(api.kubeconfig);
    await waitFor(() => controllers.isLeader(), { timeoutMs: SLOW_MS });
    await api.etcd.kill();
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    await api.etcd.start();
    await scale(7);
    await converged('web', 7);
    const { items } = await nodes.list();
    assert.deepEqual(
      items.flatMap(({ spec }) => spec?.taints ?? []),
      [],
    );
    assert.equal(controllers.process.exitCode, null);
    await controllers.kill('SIGTERM');
  });

  await t.test('the API server being away for a while costs time and nothing else', async () => {
    await using gate = await startTcpGate(Number(new URL(api.url).port));
    const kubeconfig = join(api.folder, 'gate.kubeconfig');
    await writeFile(
      kubeconfig,
      (await readFile(api.kubeconfig, 'utf8')).replaceAll(api.url, `https://127.0.0.1:${gate.port}`),
    );
    await using controllers = startTestControllers(kubeconfig);
    await waitFor(() => controllers.isLeader(), { timeoutMs: SLOW_MS });
    await scale(9);
    await converged('web', 9);
    const before = given();
    await scale(20);
    gate.shut();
    await scale(12);
    await containers.delete('web-3', 'default');
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    gate.open();
    await converged('web', 12);
    const { items } = await containers.list({ namespace: 'default' });
    assert.equal(items.filter(({ metadata }) => metadata.labels?.['windlass.dev/service'] === 'web').length, 12);
    assert.ok(given() >= before + 4);
    const tainted = (await nodes.list()).items.flatMap(({ spec }) => spec?.taints ?? []);
    assert.deepEqual(tainted, []);
    await controllers.kill('SIGTERM');
  });

  await t.test('a dead node is marked, its replicas come back elsewhere, and it may return', async () => {
    await using controllers = startTestControllers(api.kubeconfig);
    await waitFor(() => controllers.isLeader(), { timeoutMs: SLOW_MS });
    await containers.create({
      metadata: { name: 'alone', namespace: 'default' },
      spec: makeContainer('alone', { nodeName: 'n2' }).spec,
    });
    await waitFor(async () => (await containers.get('alone', 'default'))?.status?.phase === 'Running', {
      timeoutMs: SLOW_MS,
    });
    const before = (await containers.list({ namespace: 'default' })).items.filter(({ spec }) => spec.nodeName === 'n2');
    assert.ok(before.length > 1);
    await dying.stop();
    await waitFor(
      async () =>
        (await nodes.get('n2', undefined))?.spec?.taints?.some(({ key }) => key === 'node.kubernetes.io/unreachable'),
      { timeoutMs: SLOW_MS },
    );
    await waitFor(
      async () => {
        const { items } = await containers.list({ namespace: 'default', labelSelector: 'windlass.dev/service=web' });
        return (
          items.length === 12 &&
          items.every(({ spec, status }) => spec.nodeName !== 'n2' && status?.phase === 'Running')
        );
      },
      { timeoutMs: SLOW_MS },
    );
    const alone = await containers.get('alone', 'default');
    assert.deepEqual(
      [alone?.status?.phase, alone?.status?.conditions?.find(({ type }) => type === 'Ready')?.status],
      ['Unknown', 'Unknown'],
    );
    await using back = await startPretendAgent(api.kubeconfig, 'n2');
    void back;
    await waitFor(async () => !(await taintsOf('n2')), { timeoutMs: SLOW_MS });
    await controllers.kill('SIGTERM');
  });

  await t.test('most nodes being silent at once costs nothing, nor does the first of them that returns', async () => {
    await using controllers = startTestControllers(api.kubeconfig);
    await waitFor(() => controllers.isLeader(), { timeoutMs: SLOW_MS });
    const onThird = async (): Promise<string[]> =>
      (await containers.list({ namespace: 'default', labelSelector: 'windlass.dev/service=web' })).items
        .filter(({ spec, metadata }) => spec.nodeName === 'n3' && metadata.deletionTimestamp === undefined)
        .map(({ metadata }) => metadata.uid ?? '');
    const before = await onThird();
    assert.ok(before.length > 0);
    // n2 is silent since the end of the test before.
    await third.stop();
    const isSuspect = (): boolean =>
      controllers.log.some(({ msg }) => msg === 'most nodes are silent at once: nothing is evicted');
    await waitFor(isSuspect, { timeoutMs: SLOW_MS, what: 'the suspicion' });
    await waitFor(async () => (await taintsOf('n2')) && (await taintsOf('n3')), { timeoutMs: SLOW_MS });
    // Longer than from the taint to an eviction.
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    assert.deepEqual(await onThird(), before);
    const returnedAt = performance.now();
    await using back = await startPretendAgent(api.kubeconfig, 'n2');
    void back;
    await waitFor(async () => !(await taintsOf('n2')), { timeoutMs: SLOW_MS });
    await waitFor(async () => (await onThird()).length === 0, { timeoutMs: SLOW_MS, what: 'n3 being given up' });
    // The grace of 3 s and the delay of 1 s, counted from the last look before the return: a second ago on a quiet machine.
    assert.ok(performance.now() - returnedAt > 2_000, 'the other one has the time of its lease to follow');
  });
});

test('1,000 pending Containers are placed in seconds', async (t) => {
  if (!requirePrograms(t, 'etcd')) return;
  await using api = await startTestApiserver();
  await using agent = await startPretendAgent(api.kubeconfig, 'n1');
  await agent.stop();
  const containers = agent.client.kind(containerKind);
  const { spec } = makeContainer('x');
  await Promise.all(
    Array.from({ length: 10 }, async (_, part) => {
      for (let index = 0; index < 100; index += 1) {
        await containers.create({ metadata: { name: `c-${part}-${index}`, namespace: 'default' }, spec });
      }
    }),
  );
  await using controllers = startTestControllers(api.kubeconfig, ['--node-monitor-grace-seconds', '300']);
  await waitFor(() => controllers.isLeader(), { timeoutMs: SLOW_MS });
  const startedAt = performance.now();
  await waitFor(
    async () =>
      (await containers.list({ namespace: 'default' })).items.every(({ spec: { nodeName } }) => nodeName === 'n1'),
    { timeoutMs: 60_000, intervalMs: 250 },
  );
  t.diagnostic(`placed 1,000 in ${Math.round(performance.now() - startedAt)} ms`);
});
