import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventKind, type Event } from '../../../crds/builtin.ts';
import { containerKind, type ContainerSpecInput } from '../../../crds/container.ts';
import { disruptionBudgetKind, type DisruptionBudget } from '../../../crds/disruption-budget.ts';
import { serviceKind } from '../../../crds/service.ts';
import { startTestApiserver } from '../../support/apiserver.ts';
import { startTestControllers } from '../../support/controllers.ts';
import { makeBudget, makeContainer, makeService } from '../../support/objects.ts';
import { startPretendAgent } from '../../support/pretend-agent.ts';
import { requirePrograms } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

const asking = (cpu: string): Pick<ContainerSpecInput, 'resources'> => ({ resources: { requests: { cpu } } });

test('the scheduler over a real API server', async (t) => {
  if (!requirePrograms(t, 'etcd')) return;
  await using api = await startTestApiserver();
  await using controllers = startTestControllers(api.kubeconfig, ['--node-monitor-grace-seconds', '300']);
  await using agent = await startPretendAgent(api.kubeconfig, 'n1');
  await waitFor(() => controllers.isLeader());
  const services = agent.client.kind(serviceKind);
  const containers = agent.client.kind(containerKind);
  const create = (name: string, spec: Partial<ContainerSpecInput>): Promise<unknown> =>
    containers.create({ metadata: { name, namespace: 'default' }, spec: makeContainer(name, spec).spec });
  const messageOf = async (name: string): Promise<string> =>
    (await containers.get(name, 'default'))?.status?.conditions?.find(({ type }) => type === 'Scheduled')?.message ??
    '';

  await t.test('a more important Container displaces replicas, who say by whom', async () => {
    // The pretend node offers four cores.
    const web = makeService('web', { replicas: 4, template: asking('1') });
    await services.create({ metadata: { name: 'web', namespace: 'default' }, spec: web.spec });
    await waitFor(async () => (await services.get('web', 'default'))?.status?.readyReplicas === 4);
    await create('important', { ...asking('2'), priority: 100 });
    await waitFor(async () => (await containers.get('important', 'default'))?.status?.phase === 'Running');

    const { items } = await containers.list({ namespace: 'default' });
    const replicas = items.filter(({ metadata }) => metadata.name !== 'important');
    await waitFor(async () => (await services.get('web', 'default'))?.status?.readyReplicas === 2);
    assert.equal(replicas.filter(({ spec }) => spec.nodeName).length, 2);
    const by = 'container default/important of priority 100';
    for (const name of ['web-3', 'web-4']) {
      const message = await waitFor(async () => /one before it.*/.exec(await messageOf(name))?.[0]);
      assert.equal(message, `one before it was displaced by ${by}`);
      const event = await waitFor(async () => {
        const events = await agent.client
          .kind<Event>(eventKind)
          .list({ namespace: 'default', fieldSelector: `involvedObject.name=${name}` });
        return events.items.find(({ reason }) => reason === 'Preempted');
      });
      assert.equal(event.message, `displaced from node n1 by ${by}`);
    }
  });

  await t.test('one as important as those that run waits, and displaces nobody', async () => {
    await create('equal', { ...asking('1'), priority: 0 });
    const message = await waitFor(async () => (await messageOf('equal')) || undefined);
    assert.equal(message, '0/1 nodes are available: 1 node(s) had insufficient cpu (n1: needs 1, 0 free)');
    assert.equal((await services.get('web', 'default'))?.status?.readyReplicas, 2);
  });

  await t.test('what was displaced runs again when there is room', async () => {
    await containers.delete('equal', 'default');
    await containers.delete('important', 'default');
    await waitFor(async () => (await services.get('web', 'default'))?.status?.readyReplicas === 4);
  });

  await t.test('whom a disruption budget keeps is not displaced while others will do', async () => {
    const budgets = agent.client.kind<DisruptionBudget>(disruptionBudgetKind);
    const { spec } = makeBudget('last', { minAvailable: 1, selector: { matchLabels: { 'windlass.dev/slot': '4' } } });
    await budgets.create({ metadata: { name: 'last', namespace: 'default' }, ...(spec ? { spec } : {}) });
    await waitFor(async () => (await budgets.get('last', 'default'))?.status?.currentHealthy === 1);
    const kept = (await containers.get('web-4', 'default'))?.metadata.uid;
    await create('other', { ...asking('1'), priority: 100 });
    await waitFor(async () => (await containers.get('other', 'default'))?.status?.phase === 'Running');
    // Without the budget it is the last slot that goes.
    const successor = await waitFor(async () => /one before it.*/.exec(await messageOf('web-3'))?.[0]);
    assert.equal(successor, 'one before it was displaced by container default/other of priority 100');
    assert.equal((await containers.get('web-4', 'default'))?.metadata.uid, kept);
  });
});
