// Published ports over three hosts, as written in YAML: every node answers, clients keep their address, and nobody is
// sent to a node that is dead.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { GATEWAY, startCluster, type Cluster, type ClusterNode } from '../support/cluster.ts';
import { waitFor } from '../support/wait.ts';

const isRoot = process.getuid?.() === 0;
const PORT = 8088;

describe('routing mesh over three nodes', { skip: isRoot ? false : 'needs root' }, () => {
  let cluster: Cluster;
  before(async () => {
    // On a busy machine a leader that must renew every second loses its place.
    cluster = await startCluster({ controllers: ['--lease-duration-seconds', '15'] });
    await cluster.put(`
apiVersion: windlass.dev/v1
kind: Network
metadata: { name: mesh }
spec: { driver: overlay }
---
${service('web', PORT, 2)}
---
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: client }
spec:
  image: windlass.local/busybox:1
  terminationGracePeriodSeconds: 0
  command: [sleep, '3600']
  networks: [{ name: mesh, aliases: [caller] }]
`);
    await cluster.kubectlOk(['wait', '--for=condition=Ready', 'svc/web', 'ctr/client', '--timeout=120s'], {
      timeoutMs: 130_000,
    });
  });
  after(async () => cluster?.[Symbol.asyncDispose]());

  /** `<replica> <address that it sees>`. */
  const who = async (node: ClusterNode, port = PORT): Promise<string | undefined> =>
    (await cluster.curl(`http://${node.ipv4}:${port}/cgi-bin/who`, 2))?.replace(/\[::ffff:(.*)\]/, '$1');
  const placed = async (name = 'web'): Promise<Map<string, string>> => {
    const path = 'jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{"\\n"}{end}';
    const text = await cluster.kubectlOk(['get', 'ctr', '-l', `windlass.dev/service=${name}`, '-o', path]);
    return new Map(
      text
        .trim()
        .split('\n')
        .map((line) => line.split(' ') as [string, string]),
    );
  };
  const answersOf = async (node: ClusterNode, count: number): Promise<(string | undefined)[]> => {
    const answers: (string | undefined)[] = [];
    for (let index = 0; index < count; index += 1) answers.push(await who(node));
    return answers;
  };

  it('every node answers for every replica, and each sees the address of the client', async () => {
    const replicas = [...(await placed()).keys()].toSorted();
    assert.equal(replicas.length, 2);
    for (const node of cluster.nodes) {
      const seen = new Set<string>();
      await waitFor(
        async () => {
          seen.add((await who(node)) ?? '');
          return replicas.every((name) => seen.has(`${name} ${GATEWAY.ipv4}`));
        },
        { what: `both replicas by ${node.name}`, timeoutMs: 30_000 },
      ).catch((error: Error) => {
        throw new Error(`${error.message}; answers were: ${[...seen].join(', ')}`);
      });
      // By the time that both were reached the tables are whole: from then on every answer is right.
      const expected = new Set(replicas.map((name) => `${name} ${GATEWAY.ipv4}`));
      assert.deepEqual(
        (await answersOf(node, 10)).filter((answer) => !expected.has(answer ?? '')),
        [],
      );
    }
  });

  it('a host reaches the port by itself and by the others', async () => {
    for (const from of cluster.nodes)
      for (const address of ['127.0.0.1', ...cluster.nodes.map(({ ipv4 }) => ipv4)]) {
        const answer = await from.curl(`http://${address}:${PORT}/cgi-bin/who`, 3);
        assert.match(answer ?? 'no answer', /^web-\d /, `${from.name} by ${address}`);
      }
  });

  it('names and the virtual address reach replicas on every node', async () => {
    const inside = (script: string): Promise<string> =>
      cluster.kubectlOk(['exec', 'client', '--', 'sh', '-c', script], { timeoutMs: 20_000 });
    const seen = new Set<string>();
    await waitFor(
      async () => {
        const answer = await inside('wget -qO- http://web/cgi-bin/who').catch(() => '');
        seen.add(answer.split(' ')[0] ?? '');
        return seen.has('web-1') && seen.has('web-2');
      },
      { what: 'both replicas by name', timeoutMs: 30_000 },
    );
    for (const replica of ['web-1', 'web-2'])
      assert.match(await inside(`wget -qO- http://${replica}/cgi-bin/who`), new RegExp(`^${replica} `));
    // Asked on the nodes that the client is not on: its name and its alias.
    for (const replica of ['web-1', 'web-2']) {
      const script = 'nslookup client >/dev/null && nslookup caller.default >/dev/null && echo known';
      await waitFor(
        async () => (await cluster.kubectl(['exec', replica, '--', 'sh', '-c', script])).stdout.trim() === 'known',
        { what: `the client's names on ${replica}`, timeoutMs: 20_000 },
      );
    }
  });

  it('mode Host answers where a replica is, and names who has a port', async () => {
    const [first, , third] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
    const holderPid = await third.sh('busybox httpd -f -p 8091 >/dev/null 2>&1 & echo $!');
    const services = [service('local', 8089, 1, 'Host'), service('late', PORT, 1), service('taken', 8091, 1)];
    await cluster.put(services.join('\n---\n'));
    await cluster.kubectlOk(['wait', '--for=condition=Ready', 'svc/local', '--timeout=60s'], { timeoutMs: 70_000 });
    const at = (await placed('local')).get('local-1');
    for (const node of cluster.nodes) {
      if (node.name !== at) assert.equal(await who(node, 8089), undefined, node.name);
      else await waitFor(async () => (await who(node, 8089)) === `local-1 ${GATEWAY.ipv4}`, { what: 'local' });
    }
    const ready = 'jsonpath={.status.conditions[?(@.type=="Ready")].message}';
    for (const [name, holder] of [
      ['late', new RegExp(`port ${PORT}/TCP is published by Service default/web`)],
      ['taken', /on node node-3 port 8091\/TCP is taken by process \d+ \(busybox\)/],
    ] as const)
      await waitFor(async () => holder.test(await cluster.kubectlOk(['get', 'svc', name, '-o', ready])), {
        what: `the holder of the port of ${name}`,
        timeoutMs: 30_000,
      });
    await waitFor(async () => (await who(first, 8091)) === `taken-1 ${GATEWAY.ipv4}`, {
      what: 'the other nodes going on',
      timeoutMs: 30_000,
    });
    await third.sh(`kill ${holderPid.trim()}`);
    await waitFor(async () => (await who(third, 8091)) === `taken-1 ${GATEWAY.ipv4}`, {
      what: 'the port being taken when it is free',
      timeoutMs: 30_000,
    });
    await cluster.kubectlOk(['wait', '--for=condition=Ready', 'svc/taken', '--timeout=30s'], { timeoutMs: 40_000 });
    await cluster.kubectlOk(['delete', 'svc', 'local', 'late', 'taken', '--wait=false']);
  });

  it('of the clients that come after a node died none fails, long before anything is decided about it', async (t) => {
    const [, name = ''] = [...(await placed())][0] ?? [];
    const rest = cluster.nodes.filter((node) => node.name !== name);
    const ready = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}';
    const isDecided = async (): Promise<boolean> =>
      (await cluster.kubectl(['get', 'node', name, '-o', ready])).stdout.trim() !== 'True';
    const asked = { before: 0, after: 0, failed: 0 };
    /** Some knock at the dead node before anybody can know, and are led elsewhere by their next packet. */
    const ask = async (when: 'before' | 'after'): Promise<void> => {
      const urls = rest.flatMap(({ ipv4 }) => [ipv4, ipv4]).map((ipv4) => `http://${ipv4}:${PORT}/cgi-bin/who`);
      const answers = await Promise.all(urls.map((url) => cluster.curl(url, 15)));
      asked[when] += answers.length;
      asked.failed += answers.filter((answer) => answer === undefined).length;
    };
    await cluster.node(name).powerOff();
    do await ask('before');
    while (!(await isDecided()));
    for (let round = 0; round < 10; round += 1) await ask('after');
    t.diagnostic(`${asked.before} requests before the decision, ${asked.after} after it, ${asked.failed} failed`);
    assert.equal(asked.failed, 0);
  });
});

function service(name: string, publishedPort: number, replicas: number, mode = 'Ingress'): string {
  // The answer says which replica it is, and whom it sees.
  const script = [
    'mkdir -p /w/cgi-bin',
    'printf \'#!/bin/sh\\nprintf "Content-type: text/plain\\\\r\\\\n\\\\r\\\\n%%s %%s" "$HOSTNAME" "$REMOTE_ADDR"\\n\' > /w/cgi-bin/who',
    'chmod +x /w/cgi-bin/who',
    'export HOSTNAME=$(hostname)',
    'exec httpd -f -p 80 -h /w',
  ].join('; ');
  return `apiVersion: windlass.dev/v1
kind: Service
metadata: { name: ${name} }
spec:
  replicas: ${replicas}
  template:
    spec:
      image: windlass.local/busybox:1
      terminationGracePeriodSeconds: 0
      command: [sh, -c, ${JSON.stringify(script)}]
      placement: { maxPerNode: 1 }
      networks: [{ name: mesh }]
  ports: [{ port: 80, publishedPort: ${publishedPort}, mode: ${mode} }]`;
}
