import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventKind, type Event } from '../../../crds/builtin.ts';
import { containerKind } from '../../../crds/container.ts';
import { serviceKind } from '../../../crds/service.ts';
import { servePods, startTestApiserver } from '../../support/apiserver.ts';
import { startTestControllers } from '../../support/controllers.ts';
import { makeService } from '../../support/objects.ts';
import { startPretendAgent } from '../../support/pretend-agent.ts';
import { requirePrograms } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

test('the rebalancer over a real API server', async (t) => {
  if (!requirePrograms(t, 'etcd')) return;
  await using api = await startTestApiserver({ prepare: servePods });
  await using agent = await startPretendAgent(api.kubeconfig, 'n1');
  const services = agent.client.kind(serviceKind);
  const start = (mode: string) =>
    startTestControllers(api.kubeconfig, [
      ...['--node-monitor-grace-seconds', '300'],
      ...['--rebalance', mode, '--rebalance-settle-seconds', '0'],
    ]);
  const events = async (reason: string): Promise<string[]> => {
    const { items } = await agent.client.kind<Event>(eventKind).list({ namespace: 'default' });
    return items.filter((event) => event.reason === reason).map(({ message }) => message ?? '');
  };
  const spread = async (): Promise<string[]> => {
    const { items } = await agent.client.kind(containerKind).list({ namespace: 'default' });
    return items.map(({ spec }) => spec.nodeName ?? '').toSorted();
  };

  await using dry = start('dry-run');
  const web = makeService('web', { replicas: 4 });
  await services.create({ metadata: { name: 'web', namespace: 'default' }, spec: web.spec });
  await waitFor(async () => (await services.get('web', 'default'))?.status?.readyReplicas === 4);
  await using second = await startPretendAgent(api.kubeconfig, 'n2');

  await t.test('a dry run says what it would move, and moves nothing', async () => {
    const [message = ''] = await waitFor(async () => {
      const told = await events('RebalanceDryRun');
      return told.length > 0 && told;
    });
    assert.match(message, /^would move Container web-\d from node n1 to n2 for a better spread$/);
    assert.deepEqual(await spread(), ['n1', 'n1', 'n1', 'n1']);
    assert.equal(second.seen.size, 0);
    await dry.kill('SIGTERM');
  });

  await t.test('switched on it moves as many as make the spread even, and no more', async () => {
    await using controllers = start('on');
    await waitFor(
      async () =>
        (await spread()).join(' ') === 'n1 n1 n2 n2' &&
        (await services.get('web', 'default'))?.status?.readyReplicas === 4,
      { timeoutMs: 60_000 },
    );
    const moves = await waitFor(async () => {
      const told = await events('Rebalanced');
      return told.length >= 2 && told;
    });
    assert.equal(moves.length, 2);
    // n2 was given those two and nothing else: no replica went back and forth.
    assert.deepEqual([agent.seen.size, second.seen.size], [4, 2]);
    await controllers.kill('SIGTERM');
  });
});
