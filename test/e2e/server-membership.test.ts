// Three hosts, one etcd: who is let in as a server, a disk that is lost, and leaving.
import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { joinCluster } from '../../cli/join/join.ts';
import { joinServers } from '../../cli/join/join-server.ts';
import { nodeOptions, serverOptions } from '../../cli/options.ts';
import { createOutput } from '../../cli/output.ts';
import { describeInstance, paths } from '../../lib/instance.ts';
import { createServerHosts, waitForMembers, type ServerHost } from '../support/cluster/server-hosts.ts';
import { createWritten, flagsOfToken } from '../support/cluster/written.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

const SOON = { timeoutMs: 120_000, intervalMs: 250 };

test('who may be a server, and how one stops being one', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'nft', 'catatonit')) return;
  const cluster = await createServerHosts(3);
  t.after(() => cluster[Symbol.asyncDispose]());
  const [one, two, three] = cluster.hosts as [ServerHost, ServerHost, ServerHost];

  const { write, check } = createWritten();

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
    // As a node, since it is no server's place that is to be had while the token is good.
    const isExpired = (): Promise<boolean> =>
      joinAs('node', late, '99').then(
        () => false,
        (error: Error) => /expired at/.test(error.message),
      );
    await waitFor(isExpired, { ...SOON, what: 'the token having expired' });
    await assert.rejects(joinAs('server', late, '99'), { reason: 'Unauthorized', message: /expired at/ });
    assert.deepEqual((await one.servers()).servers.length, 1, 'somebody was let in');
  });

  await t.test('two more join', async () => {
    for (const host of [two, three]) await host.start(await flagsOfToken(one, '--role', 'server'));
    await waitForMembers(cluster.hosts, 3);
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
    await check(one, two, three);
  });

  await t.test('a server leaves, is not started by accident, and another is removed', async () => {
    await done(three, 'leave');
    await waitForMembers([one, two], 2);
    assert.match((await three.windlass(['server', '--listen', three.listen])).stderr, /the store of .* is gone/);
    await write(one, 'by-two-of-two');
    assert.match((await one.windlass(['server', 'remove', 'nobody:1'])).stderr, /there is no server "nobody:1"/);
    await done(one, 'remove', two.listen);
    await waitForMembers([one], 1);
    assert.match((await one.windlass(['server', 'remove', one.listen])).stderr, /is the only server/);
    await write(one, 'alone');
    await check(one);
  });
});

/** etcd changes its members only when all of them have been up for a moment: until then the command says so. */
async function done(host: ServerHost, ...action: string[]): Promise<void> {
  let said = '';
  const isDone = async (): Promise<boolean> => {
    const { code, stderr } = await host.windlass(['server', ...action]);
    said = stderr;
    if (code !== 0) assert.match(stderr, /a member of etcd is away or has just started: try again/);
    return code === 0;
  };
  await waitFor(isDone, { what: `server ${action.join(' ')}: ${said}`, ...SOON });
}
