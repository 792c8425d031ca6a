// Three hosts, one etcd: servers that join, die, lose their disks and leave; and a node that was told of one of them.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { joinCluster } from '../../cli/join/join.ts';
import { joinServers } from '../../cli/join/join-server.ts';
import { nodeOptions, serverOptions } from '../../cli/options.ts';
import { createOutput } from '../../cli/output.ts';
import { configMapKind, nodeKind, type ConfigMap, type Node } from '../../crds/builtin.ts';
import { containerKind, type Container } from '../../crds/container.ts';
import { reasonOf } from '../../lib/errors.ts';
import { describeInstance, paths } from '../../lib/instance.ts';
import { BUSYBOX, type ClusterNode } from '../support/cluster.ts';
import { createServerHosts, waitForMembers, type ServerHost } from '../support/cluster/server-hosts.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

const SOON = { timeoutMs: 120_000, intervalMs: 250 };

test('three servers with one etcd', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft', 'kubectl', 'catatonit')) return;
  const cluster = await createServerHosts(3);
  t.after(() => cluster[Symbol.asyncDispose]());
  const [one, two, three] = cluster.hosts as [ServerHost, ServerHost, ServerHost];

  /** The flags of the command that `token create` prints, without its first word. */
  const flagsOfToken = async (on: ServerHost, ...args: string[]): Promise<string[]> => {
    const made = await on.windlass(['token', 'create', '--print-join-command', ...args]);
    assert.equal(made.code, 0, made.stderr);
    return made.stdout.trim().split(' ').slice(2);
  };
  const names: string[] = [];
  const maps = (on: ServerHost) => on.api().kind<ConfigMap>(configMapKind);
  const write = async (on: ServerHost, name: string): Promise<void> => {
    const isWritten = (): Promise<boolean> =>
      maps(on)
        .create({ metadata: { name, namespace: 'default' }, data: { name } })
        .then(
          () => true,
          // An election may be under way; a write that was told to have failed may have happened.
          (error: unknown) => reasonOf(error) === 'AlreadyExists',
        );
    await waitFor(isWritten, { ...SOON, what: `a write of ${name} by ${on.listen}` });
    names.push(name);
  };
  const checkAll = async (...hosts: ServerHost[]): Promise<void> => {
    for (const host of hosts) {
      const { items } = await maps(host).list({ namespace: 'default' });
      assert.deepEqual(items.map(({ metadata }) => metadata.name).toSorted(), names.toSorted(), host.listen);
    }
  };
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

  await t.test('a token is for one role, one machine and its time, and each refusal says which', async () => {
    await one.start();
    await write(one, 'first');
    let machines = 0;
    const { signal } = new AbortController();
    const silent = { write: () => true } as unknown as NodeJS.WriteStream;
    const output = createOutput({ stdout: silent, stderr: silent, env: {} });
    /** A machine that nobody knows uses the words of a join command. */
    const joinAs = async (role: 'node' | 'server', words: readonly string[], host: string): Promise<unknown> => {
      const valueOf = (flag: string): string => words[words.indexOf(flag) + 1] ?? '';
      const folder = join(cluster.root, `stranger-${(machines += 1)}`);
      mkdirSync(join(folder, 'home'), { recursive: true });
      const instance = describeInstance(join(folder, 'home'), join(folder, 'run'));
      const shown = { token: valueOf('--token'), caHash: valueOf('--ca-hash') };
      const flags = { listen: `10.250.0.${host}:6443`, join: one.url, ...shown };
      if (role === 'server') return joinServers(instance, serverOptions.parse(flags), { output, signal });
      return joinCluster(instance, nodeOptions.parse({ server: one.url, nodeName: 'n', ...shown }), { output, signal });
    };
    const forNodes = await flagsOfToken(one);
    await assert.rejects(joinAs('server', forNodes, '99'), {
      reason: 'Forbidden',
      message: /is not for servers: make one with windlass token create --role server/,
    });
    const forServers = await flagsOfToken(one, '--role', 'server');
    const wrongHash = forServers.map((word) => (word.startsWith('sha256:') ? `sha256:${'0'.repeat(64)}` : word));
    await assert.rejects(joinAs('server', wrongHash, '99'), /as --ca-hash says: .* nothing was told to it/);
    await assert.rejects(joinAs('node', forServers, '99'), {
      reason: 'Forbidden',
      message: /the token .* is not for nodes/,
    });
    const revoked = await flagsOfToken(one, '--role', 'server');
    const id = /\b[a-z0-9]{6}(?=\.[a-z0-9]{16}\b)/.exec(revoked.join(' '))?.[0] ?? '';
    assert.equal((await one.windlass(['token', 'revoke', id])).code, 0);
    await assert.rejects(joinAs('server', revoked, '99'), {
      reason: 'Unauthorized',
      message: /is not known: it was revoked/,
    });
    const late = await flagsOfToken(one, '--role', 'server', '--ttl', '1s');
    await waitFor(
      () =>
        joinAs('server', late, '99').then(
          () => false,
          (error: Error) => /expired at/.test(error.message),
        ),
      { ...SOON, what: 'the token having expired' },
    );
    assert.deepEqual((await one.servers()).servers.length, 1, 'somebody was let in');
  });

  await t.test('it grows from one to three; who was cut off in the middle goes on', async () => {
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
    await checkAll(one, two, three);
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
    await two.killEtcd();
    await write(three, 'while-two-was-away');
    await write(two, 'by-two-again');
    await checkAll(one, two, three);
  });

  await t.test('a whole server dies: nothing is lost, controllers and node go on by the others', async () => {
    await one.powerOff();
    await write(two, 'without-one');
    await checkAll(two, three);
    await run(three, 'b');
    await waitForRunning(node, 'a', 'b');
    const isReady = async (): Promise<boolean> => {
      const found = await two.api().kind<Node>(nodeKind).get('node-1', undefined);
      return found?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
    };
    await waitFor(isReady, { ...SOON, what: 'the node being Ready' });
  });

  await t.test('two die: writes are refused, containers go on, and all is as it was when they are back', async () => {
    await two.powerOff();
    const refused = await maps(three)
      .create({ metadata: { name: 'never', namespace: 'default' } })
      .then(
        () => undefined,
        (error: Error) => error,
      );
    assert.match(String(refused), /the store .*(are more than half of the etcd members up|unavailable)/);
    assert.deepEqual(await node.running(), ['a', 'b']);
    await one.boot();
    await two.boot();
    await Promise.all([one.start(), two.start()]);
    await waitForMembers(cluster.hosts, 3);
    await maps(one).delete('never', 'default');
    await write(one, 'after-all');
    await checkAll(one, two, three);
    await run(two, 'c');
    await waitForRunning(node, 'a', 'b', 'c');
  });

  await t.test('a store that was lost is not started empty, and is replaced by joining again', async () => {
    await two.powerOff();
    rmSync(paths.etcdData(two.instance), { recursive: true });
    await two.boot();
    const refused = await two.windlass(['server', '--listen', two.listen]);
    assert.match(refused.stderr, /the store of .* is gone, and it was one of 3 servers .*windlass server --join/);
    assert.equal(refused.code, 4);
    await two.start(await flagsOfToken(one, '--role', 'server'));
    await waitForMembers(cluster.hosts, 3);
    await write(two, 'by-the-new-one');
    await checkAll(one, two, three);
  });

  await t.test('a server leaves, is not started by accident, and another is removed', async () => {
    const left = await three.windlass(['server', 'leave']);
    assert.equal(left.code, 0, left.stderr);
    await waitForMembers([one, two], 2);
    assert.match((await three.windlass(['server', '--listen', three.listen])).stderr, /the store of .* is gone/);
    await write(one, 'by-two-of-two');
    assert.match((await one.windlass(['server', 'remove', 'nobody:1'])).stderr, /there is no server "nobody:1"/);
    const removed = await one.windlass(['server', 'remove', two.listen]);
    assert.equal(removed.code, 0, removed.stderr);
    await waitForMembers([one], 1);
    assert.match((await one.windlass(['server', 'remove', one.listen])).stderr, /is the only server/);
    await write(one, 'alone');
    await checkAll(one);
  });
});
