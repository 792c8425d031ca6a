import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerKind } from '../../../crds/container.ts';
import { serviceKind, type Service } from '../../../crds/service.ts';
import { makeContainer, makeService } from '../../support/objects.ts';
import { startTestApiserver } from '../../support/apiserver.ts';
import { startTestControllers } from '../../support/controllers.ts';
import { startPretendAgent } from '../../support/pretend-agent.ts';
import { requirePrograms } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

const NAMESPACE = 'default';

test('a Service over a real API server', async (t) => {
  if (!requirePrograms(t, 'etcd')) return;
  await using api = await startTestApiserver();
  await using controllers = startTestControllers(api.kubeconfig, ['--node-monitor-grace-seconds', '300']);
  await using agent = await startPretendAgent(api.kubeconfig, 'n1');
  await using second = await startPretendAgent(api.kubeconfig, 'n2');
  await using third = await startPretendAgent(api.kubeconfig, 'n3');
  void controllers;
  void second;
  void third;
  const services = agent.client.kind(serviceKind);
  const containers = agent.client.kind(containerKind);
  const children = async (): Promise<string[]> =>
    (await containers.list({ namespace: NAMESPACE, labelSelector: 'windlass.dev/service=web' })).items
      .filter(({ metadata }) => !metadata.deletionTimestamp)
      .map(({ metadata }) => metadata.name)
      .toSorted();
  const isReady = (service: Service | undefined, replicas: number): boolean =>
    service?.status?.readyReplicas === replicas &&
    service.status.replicas === replicas &&
    service.status.observedGeneration === service.metadata.generation;
  const converged = (replicas: number): Promise<Service> =>
    waitFor(
      async () => {
        const service = await services.get('web', NAMESPACE);
        return isReady(service, replicas) && service;
      },
      { what: `web with ${replicas} Ready`, timeoutMs: 20_000 },
    );
  const { spec } = makeService('web', { replicas: 5, ports: [{ port: 80 }], updateStrategy: { monitorSeconds: 1 } });

  await t.test('is created, spread 2/2/1, with a virtual IP and conditions', async () => {
    await services.create({ metadata: { name: 'web', namespace: NAMESPACE }, spec });
    await converged(5);
    assert.deepEqual(await children(), ['web-1', 'web-2', 'web-3', 'web-4', 'web-5']);
    const { items } = await containers.list({ namespace: NAMESPACE });
    const perNode = Object.values(Object.groupBy(items, ({ spec: { nodeName } }) => nodeName ?? '')).map(
      (group) => group?.length,
    );
    assert.deepEqual(perNode.map(String).toSorted(), ['1', '2', '2']);
    assert.ok(items.every(({ metadata }) => metadata.finalizers?.includes('windlass.dev/node')));
    const service = await waitFor(async () => {
      const now = await services.get('web', NAMESPACE);
      return now?.status?.virtualIPs?.length === 1 && now;
    });
    assert.match(service.status?.virtualIPs?.[0]?.ip ?? '', /^10\.1\d\d\.\d+\.\d+$/);
    assert.equal(service.status?.selector, 'windlass.dev/service=web');
    assert.deepEqual(service.status?.conditions?.map(({ type, status }) => `${type} ${status}`).toSorted(), [
      'Available True',
      'Progressing True',
      'Ready True',
      'Updated True',
    ]);
  });

  await t.test('is scaled by the scale subresource, also to 0 and back', async () => {
    await services.mergePatch('web', NAMESPACE, { spec: { replicas: 2 } }, { subresource: 'scale' });
    await converged(2);
    assert.deepEqual(await children(), ['web-1', 'web-2']);
    await services.mergePatch('web', NAMESPACE, { spec: { replicas: 0 } });
    await converged(0);
    await services.mergePatch('web', NAMESPACE, { spec: { replicas: 3 } });
    await converged(3);
  });

  await t.test('heals a Container that is deleted', async () => {
    const before = await containers.get('web-2', NAMESPACE);
    await containers.delete('web-2', NAMESPACE);
    await waitFor(async () => {
      const now = await containers.get('web-2', NAMESPACE);
      return now && now.metadata.uid !== before?.metadata.uid;
    });
    await converged(3);
  });

  await t.test('replaces its Containers one by one when the template changes', async () => {
    const uids = async (): Promise<(string | undefined)[]> =>
      (await containers.list({ namespace: NAMESPACE })).items.map(({ metadata }) => metadata.uid);
    const before = await uids();
    await services.mergePatch('web', NAMESPACE, { spec: { template: { spec: { env: [{ name: 'A', value: '1' }] } } } });
    await waitFor(
      async () => {
        const now = await services.get('web', NAMESPACE);
        return (
          now?.status?.updatedReplicas === 3 &&
          now.status.currentRevision === now.status.updateRevision &&
          isReady(now, 3)
        );
      },
      { timeoutMs: 30_000 },
    );
    const after = await uids();
    assert.equal(after.filter((uid) => before.includes(uid)).length, 0);
    assert.equal((await services.get('web', NAMESPACE))?.status?.revisions?.length, 2);
  });

  await t.test('does not adopt a Container that has the name of a slot', async () => {
    const { spec: foreign } = makeContainer('web-4');
    await containers.create({ metadata: { name: 'web-4', namespace: NAMESPACE }, spec: foreign });
    await services.mergePatch('web', NAMESPACE, { spec: { replicas: 4 } });
    await waitFor(async () => {
      const now = await services.get('web', NAMESPACE);
      return now?.status?.conditions?.some(({ type, reason }) => type === 'Progressing' && reason === 'NameConflict');
    });
    await containers.delete('web-4', NAMESPACE);
    await converged(4);
  });

  await t.test('is deleted with its Containers', async () => {
    await services.delete('web', NAMESPACE);
    await waitFor(async () => (await children()).length === 0, { timeoutMs: 20_000 });
  });

  await t.test('says that its name is too long for the label of its Containers', async () => {
    const name = `web-${'x'.repeat(60)}`;
    await services.create({ metadata: { name, namespace: NAMESPACE }, spec });
    const refused = await waitFor(async () => {
      const now = await services.get(name, NAMESPACE);
      return now?.status?.conditions?.find(({ type, reason }) => type === 'Progressing' && reason === 'InvalidName');
    });
    assert.match(refused.message, /^metadata\.name: web-x+ has 64 characters: a Service may have 63$/);
  });
});
