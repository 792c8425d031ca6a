// Three hosts, one etcd: servers that join, die and come back, and a node that was told of one of them.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { configMapKind, nodeKind, type ConfigMap, type Node } from '../../crds/builtin.ts';
import { containerKind, type Container } from '../../crds/container.ts';
import { BUSYBOX, type ClusterNode } from '../support/cluster.ts';
import { createServerHosts, waitForMembers, type ServerHost } from '../support/cluster/server-hosts.ts';
import { createWritten, flagsOfToken } from '../support/cluster/written.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

const SOON = { timeoutMs: 120_000, intervalMs: 250 };

test('three servers with one etcd', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft', 'kubectl', 'catatonit')) return;
  const cluster = await createServerHosts(3);
  t.after(() => cluster[Symbol.asyncDispose]());
  const [one, two, three] = cluster.hosts as [ServerHost, ServerHost, ServerHost];

  const { write, check } = createWritten();
  const run = (on: ServerHost, name: string): Promise<Container> =>
    on
      .api()
      .kind<Container>(containerKind)
      .create({
        metadata: { name, namespace: 'default' },
        spec: { image: BUSYBOX, command: ['sh', '-c', 'exec sleep 1000'], restartPolicy: 'Always' },
      } as Container);
  const waitForRunning = async (node: ClusterNode, ...wanted: string[]) =>
    waitFor(async () => (await node.running()).join() === wanted.join(), { ...SOON, what: `${wanted.join()} running` });

  await t.test('it grows from one to three; who was cut off in the middle goes on', async () => {
    await one.start();
    await write(one, 'first');
    const flags = await flagsOfToken(one, '--role', 'server');
    const joined = await two.start(flags);
    assert.match(joined.stderr, /joined https:\/\/10\.250\.0\.11:6443 as server 10\.250\.0\.12:6443/);
    const replayed = await three.windlass(['server', '--listen', three.listen, ...flags]);
    assert.match(replayed.stderr, /is used up: it was for 1, and was used by 10\.250\.0\.12:6443/);
    assert.equal(replayed.code, 1);
    const half = await three.windlass(['server', '--listen', three.listen]);
    assert.match(
      half.stderr,
      /joining https:\/\/10\.250\.0\.11:6443 was cut off: finish it with windlass server --join/,
    );
    await waitForMembers([one, two], 2);
    await three.start(await flagsOfToken(two, '--role', 'server'));
    await waitForMembers(cluster.hosts, 3);
    await write(two, 'second');
    await check(one, two, three);
    const { stdout } = await three.windlass(['server', 'list']);
    assert.match(stdout, /10\.250\.0\.12:6443 +Member +https:\/\/10\.250\.0\.12:2380/);
  });

  const node = await cluster.addNode('node-1', one);
  await t.test('a node that was told of one server learns of the others', async () => {
    await node.boot();
    await run(one, 'a');
    await waitForRunning(node, 'a');
    const urls = cluster.hosts.map(({ url }) => url);
    const learnt = (): string => readFileSync(join(node.instance.home, 'servers.json'), 'utf8');
    await waitFor(() => [...(JSON.parse(learnt()) as string[])].toSorted().join() === urls.join(), {
      ...SOON,
      what: 'all servers being known',
    });
  });

  await t.test('kill -9 of an etcd: writes go on, and it comes back', async () => {
    await two.signalEtcd('KILL');
    await write(three, 'while-two-was-away');
    await write(two, 'by-two-again');
    await check(one, two, three);
  });

  await t.test('an etcd that hangs: the node leaves its API server for one that has its store', async () => {
    // Whichever the node asks now, it asks another later.
    await one.signalEtcd('STOP');
    await write(two, 'while-one-hung');
    await run(two, 'b');
    await waitForRunning(node, 'a', 'b');
    await one.signalEtcd('CONT');
    await write(one, 'by-one-again');
    await check(one, two, three);
  });

  await t.test('a whole server dies: nothing is lost, controllers and node go on by the others', async () => {
    await one.powerOff();
    await write(two, 'without-one');
    await check(two, three);
    await run(three, 'c');
    await waitForRunning(node, 'a', 'b', 'c');
    const isReady = async (): Promise<boolean> => {
      const found = await two.api().kind<Node>(nodeKind).get('node-1', undefined);
      return found?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
    };
    await waitFor(isReady, { ...SOON, what: 'the node being Ready' });
  });

  await t.test('two die: writes are refused, containers go on, and all is as it was when they are back', async () => {
    await two.powerOff();
    const refused = await three
      .api()
      .kind<ConfigMap>(configMapKind)
      .create({ metadata: { name: 'never', namespace: 'default' } })
      .then(
        () => undefined,
        (error: Error) => error,
      );
    assert.match(String(refused), /the store .*(are more than half of the etcd members up|unavailable)/);
    assert.deepEqual(await node.running(), ['a', 'b', 'c']);
    await one.boot();
    await two.boot();
    await Promise.all([one.start(), two.start()]);
    await waitForMembers(cluster.hosts, 3);
    await one.api().kind<ConfigMap>(configMapKind).delete('never', 'default');
    await write(one, 'after-all');
    await check(one, two, three);
    await run(two, 'd');
    await waitForRunning(node, 'a', 'b', 'c', 'd');
  });
});
