// What becomes of Services when nodes, and what watches over them, fail: three hosts, leases of four seconds.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { nodeKind, type Node } from '../../crds/builtin.ts';
import { containerKind, type Container } from '../../crds/container.ts';
import { networkKind } from '../../crds/network.ts';
import { serviceKind } from '../../crds/service.ts';
import { BUSYBOX, startCluster, type Cluster, type ClusterNode } from '../support/cluster.ts';
import type { Supervised } from '../support/cluster/supervised.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

const UNREACHABLE = 'node.kubernetes.io/unreachable';
const REPLICAS = 5;
/** The machine is shared: what takes two seconds alone may take a minute where twenty others start things as well. */
const SOON = { timeoutMs: 120_000, intervalMs: 100, explain: (): string => cluster().explain() };

/** Published on every node; each replica answers with its name. */
const PORT = { port: 80, targetPort: 8080, publishedPort: 30080 };
const SERVE = 'hostname >/tmp/index.html; exec httpd -f -p 8080 -h /tmp';

let started: Cluster | undefined;
before(async () => {
  if (process.getuid?.() !== 0) return;
  started = await startCluster({ nodes: 3 });
  await started.put(service('web', { replicas: REPLICAS, command: SERVE, ports: [PORT] }));
});
// A test that fails leaves nothing cut, off or killed to the ones after it.
afterEach(async () => {
  if (!started) return;
  const { nodes, etcd, apiserver, controllers } = started;
  for (const part of [etcd, apiserver, controllers]) {
    part.thaw();
    part.start();
  }
  await started.waitForApi();
  for (const node of nodes) {
    node.restore();
    await node.boot();
  }
  await allWell();
});
after(async () => {
  await started?.[Symbol.asyncDispose]();
});

interface Asked {
  readonly replicas?: number;
  readonly command: string;
  readonly ports?: readonly object[];
  /** Further fields of the Container's spec. */
  readonly more?: object;
  readonly minReadySeconds?: number;
}

function service(name: string, { replicas = 1, command, ports = [], more = {}, minReadySeconds = 0 }: Asked): string {
  return JSON.stringify({
    apiVersion: 'windlass.dev/v1',
    kind: 'Service',
    metadata: { name },
    spec: {
      replicas,
      ports,
      minReadySeconds,
      template: {
        spec: {
          image: BUSYBOX,
          command: ['sh', '-c', command],
          terminationGracePeriodSeconds: 3,
          ...more,
        },
      },
    },
  });
}

const cluster = (): Cluster => {
  assert.ok(started);
  return started;
};
const isReady = ({ status }: Container | Node): boolean =>
  status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
const isTainted = (node: Node | undefined): boolean =>
  node?.spec?.taints?.some(({ key }) => key === UNREACHABLE) ?? false;

async function replicasOf(name: string): Promise<Container[]> {
  const labelSelector = `windlass.dev/service=${name}`;
  return (await cluster().api.kind(containerKind).list({ namespace: 'default', labelSelector })).items;
}

async function nodes(): Promise<Map<string, Node>> {
  const { items } = await cluster().api.kind<Node>(nodeKind).list();
  return new Map(items.map((node) => [node.metadata.name, node]));
}

/** Replicas per node, sorted: [2, 2, 1]. */
const spread = (replicas: readonly Container[]): number[] =>
  Object.values(Object.groupBy(replicas, ({ spec }) => spec.nodeName ?? ''))
    .map((list) => list?.length ?? 0)
    .toSorted((a, b) => b - a);

const uids = (replicas: readonly Container[]): string[] =>
  replicas.map(({ metadata }) => metadata.uid ?? '').toSorted();

/** Waits until all replicas are Ready, on none but the given nodes, and are to stay. */
const settled = (name: string, count: number, on: readonly string[]): Promise<Container[]> =>
  waitFor(
    async () => {
      const replicas = await replicasOf(name);
      const isThere = (one: Container): boolean =>
        isReady(one) && on.includes(one.spec.nodeName ?? '') && one.metadata.deletionTimestamp === undefined;
      return replicas.length === count && replicas.every(isThere) && replicas;
    },
    { ...SOON, what: `${count} replicas of ${name} on ${on.join(', ')}` },
  );

/** The same after asking for so many. */
async function scaled(name: string, count: number, on: readonly string[] = ALL): Promise<Container[]> {
  await cluster().kubectlOk(['scale', `svc.windlass.dev/${name}`, `--replicas=${count}`]);
  return settled(name, count, on);
}

const allWell = (): Promise<unknown> =>
  waitFor(async () => [...(await nodes()).values()].every((node) => isReady(node) && !isTainted(node)), {
    ...SOON,
    what: 'all nodes Ready and without taints',
  });

const marked = (...names: string[]): Promise<unknown> =>
  waitFor(
    async () => {
      const all = await nodes();
      return names.every((name) => isTainted(all.get(name)));
    },
    { ...SOON, what: `${names.join(' and ')} marked as unreachable` },
  );

const ALL = ['node-1', 'node-2', 'node-3'];
const others = (name: string): string[] => ALL.filter((one) => one !== name);

/** What the runtimes have, whatever the API says. */
async function runningEverywhere(): Promise<Map<string, string[]>> {
  const on = cluster().nodes.filter(({ machine }) => machine.isOn());
  return new Map(await Promise.all(on.map(async (node) => [node.name, await node.running()] as const)));
}

const settledOnHost = (node: ClusterNode, wanted: readonly string[]): Promise<unknown> =>
  waitFor(async () => String(await node.running()) === String(wanted.toSorted()), {
    ...SOON,
    what: `${wanted.join(', ') || 'nothing'} running on ${node.name}`,
  });

/** Asks the published port of each of `names`, one request after the other, until it is told to stop. */
function askPublished(names: readonly string[]): { stop(): Promise<{ asked: number; failed: number }> } {
  const stopped = new AbortController();
  const counts = { asked: 0, failed: 0 };
  const asking = names.map(async (name) => {
    while (!stopped.signal.aborted) {
      const answer = await cluster().curl(`http://${cluster().node(name).ipv4}:${PORT.publishedPort}/`, 1);
      counts.asked += 1;
      if (answer === undefined) counts.failed += 1;
    }
  });
  return {
    async stop() {
      stopped.abort();
      await Promise.all(asking);
      return counts;
    },
  };
}

/** Every node answers there, until each of `replicas` was met by each of them. */
async function meetAll(names: readonly string[], replicas: readonly string[]): Promise<void> {
  for (const name of names) {
    const met = new Set<string>();
    await waitFor(
      async () => {
        const answer = await cluster().curl(`http://${cluster().node(name).ipv4}:${PORT.publishedPort}/`, 2);
        assert.ok(answer !== undefined, `${name} answers on the published port`);
        return met.add(answer.trim()).size === replicas.length;
      },
      { ...SOON, intervalMs: 0, what: `${replicas.join(', ')} behind the published port of ${name}` },
    );
    assert.deepEqual([...met].toSorted(), [...replicas].toSorted());
  }
}

test('105 five replicas are spread 2/2/1; those of a node that loses power come back on the others', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'kubectl')) return;
  const replicas = await settled('web', REPLICAS, ALL);
  assert.deepEqual(spread(replicas), [2, 2, 1]);
  const victim = cluster().node(replicas[0]?.spec.nodeName ?? '');
  const lost = replicas.filter(({ spec }) => spec.nodeName === victim.name).map(({ metadata }) => metadata.name);
  await meetAll(ALL, ALL_NAMES);
  const asking = askPublished(others(victim.name));
  t.after(() => asking.stop());
  await victim.powerOff();
  const diedAt = performance.now();

  await marked(victim.name);
  const decidedAt = performance.now();
  await waitFor(
    async () => {
      const network = await cluster().api.kind(networkKind).get('default', 'default');
      return network?.status?.endpoints?.every(({ nodeName }) => nodeName !== victim.name);
    },
    { ...SOON, what: 'the endpoints of the dead node being gone' },
  );
  const forgottenAt = performance.now();
  const moved = await settled('web', REPLICAS, others(victim.name));
  const backAt = performance.now();
  assert.deepEqual(spread(moved), [3, 2]);
  assert.deepEqual(moved.map(({ metadata }) => metadata.name).toSorted(), ALL_NAMES);
  assert.equal(moved.filter(({ metadata }) => lost.includes(metadata.name)).length, lost.length);
  const ms = (from: number, to: number): string => `${Math.round(to - from)} ms`;
  t.diagnostic(
    `decided after ${ms(diedAt, decidedAt)}, endpoints gone ${ms(decidedAt, forgottenAt)} later, replicas back ${ms(decidedAt, backAt)} later`,
  );
  const { asked, failed } = await asking.stop();
  t.diagnostic(`published port of the other nodes meanwhile: ${failed} of ${asked} requests failed`);
  // From here on nobody is sent to the dead node.
  await meetAll(others(victim.name), ALL_NAMES);
  assert.ok(forgottenAt - decidedAt < 10_000, 'endpoints leave within seconds of the decision');
  assert.ok(backAt - decidedAt < 60_000, 'replicas are back within a minute of the decision');

  await victim.boot();
  await allWell();
  await settledOnHost(victim, []);
  assert.deepEqual(uids(await replicasOf('web')), uids(moved));
});

const ALL_NAMES = Array.from({ length: REPLICAS }, (_, index) => `web-${index + 1}`);

test('a node that was cut off gives up what is no longer its own, and a volume never has two holders', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'kubectl')) return;
  await cluster().put(JSON.stringify({ apiVersion: 'windlass.dev/v1', kind: 'Volume', metadata: { name: 'data' } }));
  // Each run signs what it holds, and looks whether somebody else has signed, also while it is being stopped.
  const command = `me=$(cat /proc/sys/kernel/random/uuid); echo $me >/data/holder; echo $me >>/data/starts
    left=; trap 'left=20' TERM
    while [ "$left" != 0 ]; do
      [ "$(cat /data/holder)" = "$me" ] || echo two >>/data/violations
      sleep 0.05; [ -z "$left" ] || left=$((left - 1))
    done`;
  await cluster().put(service('db', { command, more: { mounts: [{ mountPath: '/data', volume: 'data' }] } }));
  const [before] = await settled('db', 1, ALL);
  const home = cluster().node(before?.spec.nodeName ?? '');
  const webBefore = await settled('web', REPLICAS, ALL);
  const webThere = webBefore.filter(({ spec }) => spec.nodeName === home.name);
  home.cut();
  await marked(home.name);
  await settled('web', REPLICAS, others(home.name));
  // Its volume is there and nowhere else: the slot waits, and says for what.
  const waiting = await waitFor(
    async () =>
      (await replicasOf('db')).find(
        ({ metadata, spec }) => metadata.uid !== before?.metadata.uid && !spec.nodeName && metadata,
      ),
    { ...SOON, what: 'the successor of db-1' },
  );
  await waitFor(
    async () =>
      (await replicasOf('db'))[0]?.status?.conditions?.some(({ message }) =>
        message?.includes('did not hold volume data'),
      ),
    { ...SOON, what: 'why the successor waits' },
  );
  assert.deepEqual(await home.running(), ['db-1', ...webThere.map(({ metadata }) => metadata.name)].toSorted());

  home.restore();
  await allWell();
  const [returned] = await settled('db', 1, [home.name]);
  assert.equal(returned?.metadata.uid, waiting.metadata.uid);
  await settledOnHost(home, ['db-1']);
  const looked = await cluster().kubectlOk([
    'exec',
    'db-1',
    '--',
    'sh',
    '-c',
    'cat /data/violations 2>/dev/null; wc -l </data/starts',
  ]);
  assert.equal(looked.trim(), '2', 'started twice, never beside one another');
});

test('an agent that crashes costs nothing within its lease; after that its node returns as any other', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'kubectl')) return;
  const replicas = await scaled('web', 6);
  const runs = (list: readonly Container[]): string[] => list.map(({ status }) => status?.containerID ?? '').toSorted();
  for (const node of cluster().nodes) await node.killProcesses();
  for (const node of cluster().nodes) await node.start();
  await allWell();
  assert.deepEqual(runs(await settled('web', 6, ALL)), runs(replicas));

  const victim = cluster().node(replicas.find(({ spec }) => spec.nodeName !== undefined)?.spec.nodeName ?? '');
  await victim.agent.kill();
  await marked(victim.name);
  await settled('web', 6, others(victim.name));
  assert.ok((await victim.running()).some((name) => name.startsWith('web-')));
  victim.agent.start();
  await allWell();
  await waitFor(async () => !(await victim.running()).some((name) => name.startsWith('web-')), {
    ...SOON,
    what: 'what was given away being off the node',
  });
});

test('when most nodes fall silent at once, the observer is the suspect: nothing is given away', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'kubectl')) return;
  const before = await scaled('web', 6);
  const running = await runningEverywhere();
  const silent = cluster().nodes.slice(1);
  for (const node of silent) node.cut();
  await marked(...silent.map(({ name }) => name));
  await waitFor(() => cluster().controllers.tail(500).includes('nothing is evicted'), SOON);
  assert.deepEqual(uids(await replicasOf('web')), uids(before));
  assert.deepEqual(await runningEverywhere(), running);
  for (const node of silent) node.restore();
  await allWell();
  assert.deepEqual(uids(await settled('web', 6, ALL)), uids(before));
  assert.deepEqual(await runningEverywhere(), running);
});

/** A container is killed while the API server is away for longer than any lease: it comes back, and nothing else happens. */
async function restartWithoutServer(leave: () => Promise<void> | void, comeBack: () => void): Promise<void> {
  const before = await scaled('web', 6);
  const victim = cluster().node(before[0]?.spec.nodeName ?? '');
  const names = await victim.running();
  await leave();
  const goneAt = performance.now();
  // As its runtime has it: the API may tell of the run before yet.
  const [killed = ''] = await victim.runningIds();
  await victim.sh(`kill -9 $(cat ${victim.instance.run}/shim/b/${killed}/pid)`);
  await waitFor(async () => !(await victim.runningIds()).includes(killed), { ...SOON, what: 'the end of a container' });
  await settledOnHost(victim, names);
  await waitFor(() => performance.now() - goneAt > 6_000, SOON);
  comeBack();
  await cluster().waitForApi();
  await allWell();
  assert.deepEqual(uids(await settled('web', 6, ALL)), uids(before));
}

test('without the API server containers run on and are restarted; its return gives nothing away', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'kubectl')) return;
  const { apiserver } = cluster();
  await restartWithoutServer(
    () => apiserver.kill(),
    () => apiserver.start(),
  );
});

test('nor does an API server that takes calls and never answers them hold anything up', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'kubectl')) return;
  const { apiserver } = cluster();
  await restartWithoutServer(
    () => apiserver.freeze(),
    () => apiserver.thaw(),
  );
});

/** What the present run of controllers has said of itself last. */
function roleOf(controllers: Supervised): 'leads' | 'waits' | 'unknown' {
  const said = controllers.isRunning() ? (controllers.tail(500).split('"msg":"starting"').at(-1) ?? '') : '';
  if (said.includes('became leader')) return 'leads';
  return said.includes('another process leads') ? 'waits' : 'unknown';
}

test('a controller that leads and dies is followed by the next, which sees a node die as well', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'kubectl')) return;
  const before = await scaled('web', 6);
  const standby = cluster().addControllers('standby');
  standby.start();
  // Which of the two leads is theirs to find out: one that loses its lease on a busy machine begins anew.
  const candidates = [cluster().controllers, standby];
  const leader = await waitFor(
    () => {
      const roles = candidates.map(roleOf);
      return roles.includes('waits') && candidates[roles.indexOf('leads')];
    },
    { ...SOON, what: 'one that leads and one that waits' },
  );
  const victim = cluster().node(before[0]?.spec.nodeName ?? '');
  await Promise.all([leader.kill(), victim.agent.kill()]);
  await marked(victim.name);
  await settled('web', 6, others(victim.name));
  victim.agent.start();
  await allWell();
});

test('clocks of nodes that are minutes off kill nobody and hold nothing up', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'kubectl')) return;
  const [ahead, behind] = cluster().nodes;
  await ahead?.setAgentClock(600_000);
  await behind?.setAgentClock(-600_000);
  await allWell();
  await cluster().put(service('skewed', { replicas: 3, command: 'sleep 1000', minReadySeconds: 1 }));
  await settled('skewed', 3, ALL);
  await waitFor(
    async () => (await cluster().api.kind(serviceKind).get('skewed', 'default'))?.status?.availableReplicas === 3,
    { ...SOON, what: 'three replicas that were Ready for a second' },
  );
  await ahead?.agent.kill();
  await marked(ahead?.name ?? '');
  await settled('skewed', 3, others(ahead?.name ?? ''));
});
