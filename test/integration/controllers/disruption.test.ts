// Disruption budgets and drain with the real kubectl; the nodes are pretended.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { disruptionBudgetKind, isHealthy, type DisruptionBudget } from '../../../crds/disruption-budget.ts';
import { containerKind } from '../../../crds/container.ts';
import { nodeKind, type Node } from '../../../crds/builtin.ts';
import { serviceKind } from '../../../crds/service.ts';
import { servePods, startTestApiserver } from '../../support/apiserver.ts';
import { startTestControllers } from '../../support/controllers.ts';
import { runCommand } from '../../support/instance.ts';
import { makeContainer, makeService } from '../../support/objects.ts';
import { startPretendAgent } from '../../support/pretend-agent.ts';
import { requirePrograms } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));
// On a loaded machine a short lease is lost, and the process with it.
const TIMES = ['--node-monitor-grace-seconds', '300', '--lease-duration-seconds', '60'];

test('disruption budgets over a real API server', async (t) => {
  if (!requirePrograms(t, 'etcd', 'kubectl')) return;
  await using api = await startTestApiserver({ prepare: servePods });
  await using first = await startPretendAgent(api.kubeconfig, 'n1');
  await using _second = await startPretendAgent(api.kubeconfig, 'n2');
  await using _controllers = startTestControllers(api.kubeconfig, TIMES);
  const env = { ...process.env, HOME: api.folder, KUBECONFIG: api.kubeconfig };
  const kubectl = (...args: string[]) => runCommand('kubectl', args, { env });
  const kubectlOk = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await kubectl(...args);
    assert.equal(code, 0, `kubectl ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  const containers = first.client.kind(containerKind);
  const services = first.client.kind(serviceKind);
  const budgets = first.client.kind<DisruptionBudget>(disruptionBudgetKind);
  const nodes = first.client.kind<Node>(nodeKind);
  const on = async (nodeName: string): Promise<string[]> => {
    const { items } = await containers.list({ namespace: 'default' });
    return items.filter(({ spec }) => spec.nodeName === nodeName).map(({ metadata }) => metadata.name);
  };
  const isReady = async (replicas: number): Promise<boolean> => {
    const { status } = (await services.get('web', 'default')) ?? {};
    return status?.readyReplicas === replicas && status.replicas === replicas;
  };
  const allowed = async (): Promise<number | undefined> => {
    const budget = await budgets.get('web', 'default');
    return budget?.status?.observedGeneration === budget?.metadata.generation
      ? budget?.status?.disruptionsAllowed
      : undefined;
  };

  const web = makeService('web', { replicas: 4 });
  await services.create({ metadata: { name: 'web', namespace: 'default' }, spec: web.spec });
  const selector = { matchLabels: { 'windlass.dev/service': 'web' } };
  await kubectlOk('create', 'pdb', 'web', '--selector=windlass.dev/service=web', '--max-unavailable=1');
  await waitFor(async () => (await isReady(4)) && (await allowed()) === 1, { timeoutMs: 30_000 });

  await t.test('kubectl shows what a budget allows', async () => {
    const [header, row] = (await kubectlOk('get', 'pdb')).split('\n');
    assert.match(header ?? '', /^NAME\s+MIN AVAILABLE\s+MAX UNAVAILABLE\s+ALLOWED DISRUPTIONS\s+AGE/);
    assert.match(row ?? '', /^web\s+N\/A\s+1\s+1\s/);
    assert.match(await kubectlOk('describe', 'pdb', 'web'), /Allowed disruptions:\s+1/);
    await kubectlOk('create', 'pdb', 'none', '--selector=app=none', '--max-unavailable=0');
    assert.match(await kubectlOk('get', 'pdb', 'none'), /none\s+N\/A\s+0\s+0\s/);
  });

  await t.test('of evictions at once, by two servers, only as many pass as the budget allows', async () => {
    await using other = await startTestApiserver({ etcd: api.etcd, prepare: servePods });
    const evict = (name: string, index: number) =>
      (index % 2 === 0 ? api : other).request('POST', `/api/v1/namespaces/default/pods/${name}/eviction`, {
        body: { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace: 'default' } },
        headers: { 'content-type': 'application/json' },
      });
    const answers = await Promise.all(['web-1', 'web-2', 'web-3', 'web-4'].map(evict));
    assert.deepEqual(
      answers.map(({ status }) => status).toSorted((a, b) => a - b),
      [201, 429, 429, 429],
    );
    const refused = answers.find(({ status }) => status === 429);
    const { details, message } = refused?.json<{ message: string; details: { causes: { reason: string }[] } }>() ?? {};
    assert.equal(message, "Cannot evict pod as it would violate the pod's disruption budget.");
    assert.deepEqual(
      details?.causes.map(({ reason }) => reason),
      ['DisruptionBudget'],
    );
    assert.equal(refused?.headers['retry-after'], undefined);
    await waitFor(async () => (await isReady(4)) && (await allowed()) === 1, { timeoutMs: 30_000 });
  });

  await t.test('a budget holds at every moment, however many ask without end', async () => {
    const stop = new AbortController();
    const { items, resourceVersion } = await containers.list({ namespace: 'default' });
    const healthy = new Set(items.map(({ metadata }) => metadata.uid));
    let fewest = healthy.size;
    const watching = (async () => {
      for await (const { type, object } of containers.watch({ namespace: 'default', resourceVersion }, stop.signal)) {
        if (type === 'BOOKMARK') continue;
        if (type !== 'DELETED' && isHealthy(object)) healthy.add(object.metadata.uid);
        else healthy.delete(object.metadata.uid);
        fewest = Math.min(fewest, healthy.size);
      }
    })();
    let granted = 0;
    const deadline = performance.now() + 60_000;
    const evictAlways = async (name: string): Promise<void> => {
      while (granted < 12 && performance.now() < deadline) {
        const { status } = await api.request('POST', `/api/v1/namespaces/default/pods/${name}/eviction`, {
          body: {},
          headers: { 'content-type': 'application/json' },
        });
        // What is going already, or does not run yet, costs nothing.
        if (status === 201 && fewest < 4) granted += 1;
        await pause();
      }
    };
    await Promise.all(['web-1', 'web-2', 'web-3', 'web-4'].map(evictAlways));
    await waitFor(async () => (await isReady(4)) && (await allowed()) === 1, { timeoutMs: 60_000 });
    stop.abort();
    await watching;
    assert.ok(granted >= 12, `only ${granted} evictions were granted`);
    assert.equal(fewest, 3);
  });

  await t.test('a budget that can never be met by its writing is refused with the field', async () => {
    const refusal = async (spec: object): Promise<string> => {
      const body = { apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', metadata: { name: 'bad' }, spec };
      const answer = await api.request('POST', '/apis/policy/v1/namespaces/default/poddisruptionbudgets', {
        body,
        headers: { 'content-type': 'application/json' },
      });
      assert.equal(answer.status, 422, answer.text);
      return answer.json<{ message: string }>().message;
    };
    const both = await refusal({ minAvailable: 1, maxUnavailable: 1, selector });
    assert.match(both, /spec: Invalid value: .*minAvailable and maxUnavailable cannot be both set/);
    assert.match(await refusal({ minAvailable: -1 }), /spec\.minAvailable: Invalid value: -1: must be greater than/);
    assert.match(await refusal({ minAvailable: '101%' }), /spec\.minAvailable: .*must not be greater than 100%/);
    assert.match(await refusal({ maxUnavailable: 'few' }), /spec\.maxUnavailable: .*a valid percent string/);
    const nonsense = { matchExpressions: [{ key: 'app', operator: 'Like', values: ['x'] }] };
    assert.match(
      await refusal({ minAvailable: 1, selector: nonsense }),
      /spec\.selector\.matchExpressions\[0\]\.operator: Invalid value: "Like": not a valid selector operator/,
    );
    const empty = { matchExpressions: [{ key: 'app', operator: 'In' }] };
    assert.match(await refusal({ selector: empty }), /matchExpressions\[0\]\.values: Required value/);
    assert.match(await refusal({ selector: { matchLabels: { '-': 'x' } } }), /spec\.selector\.matchLabels: Invalid/);
    assert.match(
      await refusal({ minAvailable: 1, unhealthyPodEvictionPolicy: 'Never' }),
      /spec\.unhealthyPodEvictionPolicy: Unsupported value: "Never"/,
    );
  });

  await t.test(
    'kubectl drain wants --force for what stands alone, and a word for what would lose its files',
    async () => {
      const standing = [
        makeContainer('alone', { nodeName: 'n1' }),
        makeContainer('scratch', { nodeName: 'n1', mounts: [{ mountPath: '/data' }] }),
      ];
      const names = standing.map(({ metadata }) => metadata.name);
      for (const { metadata, spec } of standing) {
        await containers.create({ metadata: { name: metadata.name, namespace: 'default' }, spec });
      }
      const phases = () =>
        Promise.all(names.map(async (name) => (await containers.get(name, 'default'))?.status?.phase));
      await waitFor(async () => (await phases()).every((phase) => phase === 'Running'));
      const { code, stderr } = await kubectl('drain', 'n1', '--dry-run=server');
      assert.notEqual(code, 0);
      assert.match(stderr, /use --delete-emptydir-data to override\): default\/scratch/);
      assert.match(stderr, /use --force to override\): default\/alone/);
      for (const name of names) await containers.delete(name, 'default');
      await waitFor(async () => (await phases()).every((phase) => phase === undefined));
    },
  );

  await t.test('kubectl drain waits for a budget, and goes on when it allows', async () => {
    await kubectlOk('patch', 'pdb', 'web', '--type=merge', '-p', '{"spec":{"maxUnavailable":0}}');
    await waitFor(async () => (await allowed()) === 0);
    const before = (await on('n1')).length;
    assert.ok(before > 0);
    const draining = kubectl('drain', 'n1', '--timeout=90s');
    await waitFor(async () => (await nodes.get('n1', undefined))?.spec?.unschedulable === true);
    assert.match(await kubectlOk('get', 'node', 'n1'), /n1\s+Ready,SchedulingDisabled\s/);
    // The eviction that is refused leaves no trace in the objects; this one is ours.
    const name = (await on('n1'))[0] ?? '';
    const refused = await api.request('POST', `/api/v1/namespaces/default/pods/${name}/eviction`, {
      body: {},
      headers: { 'content-type': 'application/json' },
    });
    assert.equal(refused.status, 429);
    assert.equal((await on('n1')).length, before);
    await kubectlOk('patch', 'pdb', 'web', '--type=merge', '-p', '{"spec":{"maxUnavailable":1}}');
    const { code, stdout, stderr } = await draining;
    assert.equal(code, 0, stderr);
    assert.match(stderr, /will retry after 5s\): Cannot evict pod as it would violate the pod's disruption budget/);
    assert.match(stdout, /node\/n1 drained/);
    assert.deepEqual(await on('n1'), []);
    await waitFor(() => isReady(4), { timeoutMs: 30_000 });
    await kubectlOk('uncordon', 'n1');
  });

  await t.test('the taint windlass.dev/drain drains through the budget, and the node says how far it is', async () => {
    await kubectlOk('patch', 'pdb', 'web', '--type=merge', '-p', '{"spec":{"maxUnavailable":0}}');
    await waitFor(async () => (await allowed()) === 0);
    await kubectlOk('taint', 'node', 'n2', 'windlass.dev/drain=:NoExecute');
    const drained = async () =>
      (await nodes.get('n2', undefined))?.status?.conditions?.find(({ type }) => type === 'Drained');
    const { message } = await waitFor(async () => {
      const condition = await drained();
      return condition?.reason === 'DisruptionBudget' && condition;
    });
    assert.match(message, /^4 container\(s\) left, 4 of them kept by a disruption budget \(default\/web-\d: The/);
    assert.match(await kubectlOk('get', 'node', 'n2'), /n2\s+Ready,SchedulingDisabled\s/);
    await kubectlOk('create', 'pdb', 'extra', '--selector=windlass.dev/service=web', '--min-available=0');
    await waitFor(
      async () => /more than one PodDisruptionBudget.*: extra, web/.test((await drained())?.message ?? ''),
      {
        timeoutMs: 30_000,
      },
    );
    await kubectlOk('delete', 'pdb', 'web', 'extra');
    await kubectlOk('wait', '--for=condition=Drained', 'node/n2', '--timeout=60s');
    await waitFor(async () => (await on('n2')).length === 0 && (await isReady(4)), { timeoutMs: 30_000 });
    assert.equal((await on('n1')).length, 4);
    await kubectlOk('taint', 'node', 'n2', 'windlass.dev/drain-');
    await waitFor(async () => (await drained()) === undefined);
  });
});
