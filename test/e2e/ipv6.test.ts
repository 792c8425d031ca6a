// Networks with IPv6 over two nodes: what is written in YAML, and what containers reach by it.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startCluster, type Cluster, type ClusterNode } from '../support/cluster.ts';
import { waitFor } from '../support/wait.ts';

const isRoot = process.getuid?.() === 0;

describe('IPv6 over two nodes', { skip: isRoot ? false : 'needs root' }, () => {
  let cluster: Cluster;
  before(async () => {
    cluster = await startCluster({ nodes: 2 });
  });
  after(async () => cluster?.[Symbol.asyncDispose]());

  const field = async (what: string, path: string): Promise<string> =>
    (await cluster.kubectl(['get', ...what.split(' '), '-o', `jsonpath={${path}}`])).stdout.trim();
  /** Output of a script in a container; undefined when it fails. */
  const inside = async (container: string, script: string): Promise<string | undefined> => {
    const { code, stdout } = await cluster.kubectl(['exec', container, '--', 'sh', '-c', script], {
      timeoutMs: 30_000,
    });
    return code === 0 ? stdout.trim() : undefined;
  };
  const ask = (container: string, url: string): Promise<string | undefined> => inside(container, `wget -qO- '${url}'`);
  const ping = async (container: string, name: string): Promise<boolean> =>
    (await inside(container, `ping -6 -c 1 -W 3 ${name} > /dev/null && echo up`)) === 'up';
  const container = (name: string, node: ClusterNode | undefined, rest: string): string => `
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: ${name} }
spec:
  image: windlass.local/busybox:1
  nodeName: ${node?.name}
  terminationGracePeriodSeconds: 0
  command: [sh, -c, 'mkdir /w && echo ${name} > /w/index.html && httpd -f -p 80 -h /w']
  ${rest}
`;
  const network = (name: string, spec: string): string =>
    `apiVersion: windlass.dev/v1\nkind: Network\nmetadata: { name: ${name} }\nspec: ${spec}\n`;

  it('containers reach each other by name, on one node and over two, and no others do', async () => {
    const [first, second] = cluster.nodes;
    await cluster.put(
      [
        network('six', '{ ipv6: true }'),
        network('back', '{ driver: overlay, ipv6: true, subnets: [{ cidr: "fd00:77::/64" }] }'),
        container(
          'a',
          first,
          'networks: [{ name: back }, { name: six }]\n  ports: [{ containerPort: 80, hostPort: 8090 }]',
        ),
        container('b', first, 'networks: [{ name: six, ipv6Address: "fd00::1" }]'),
        container('c', second, 'networks: [{ name: back, ipv6Address: "fd00:77::c" }]'),
      ].join('---\n'),
    );
    await cluster.kubectlOk(['wait', '--for=condition=Ready', 'ctr', 'a', 'c', '--timeout=90s'], {
      timeoutMs: 100_000,
    });
    // One that its network cannot give is said by name, and given up for one that it can.
    const why = (): Promise<string> => field('ctr b', '.status.conditions[?(@.type=="Ready")].message');
    await waitFor(async () => (await why()).includes('address fd00::1 cannot be given'), {
      what: 'the reason of b',
      timeoutMs: 60_000,
    });
    await cluster.kubectlOk(['patch', 'ctr', 'b', '--type=merge', '-p', '{"spec":{"networks":[{"name":"six"}]}}']);
    await cluster.kubectlOk(['wait', '--for=condition=Ready', 'ctr', 'b', '--timeout=60s'], { timeoutMs: 70_000 });

    assert.equal(await field('ctr c', '.status.networks[0].ipv6Address'), 'fd00:77::c');
    assert.equal(await field('ctr a', '.status.networks[0].ipv6Gateway'), 'fd00:77::1');
    assert.match(await field('net six', '.status.subnets[1].cidr'), /^fd[0-9a-f:]+::\/64$/);
    assert.match(await field('pod a', '.status.podIPs[*].ip'), /fd00:77::/);
    const a = await field('ctr a', '.status.networks[0].ipv6Address');
    assert.equal(await ping('b', 'a'), true, 'on one node');
    await waitFor(() => ping('c', 'a'), { what: 'c reaching a on another node by name', timeoutMs: 30_000 });
    assert.equal(await ask('c', `http://[${a}]/`), 'a');
    assert.equal(await ask('a', 'http://[fd00:77::c]/'), 'c');
    assert.equal(await ping('b', 'fd00:77::c'), false, 'another network');
    assert.equal(await field('net back', '.status.endpoints[?(@.container=="c")].ipv6Address'), 'fd00:77::c');
  });

  it('a published port is reached by the IPv6 address of the node, from the node and from another one', async () => {
    const [first, second] = cluster.nodes as [ClusterNode, ClusterNode];
    for (const node of [first, second])
      await waitFor(async () => (await node.curl(`http://[${first.ipv6}]:8090/`))?.trim() === 'a', {
        what: `the port of a from ${node.name}`,
        timeoutMs: 30_000,
      });
  });

  it('a Service is reached by IPv6 where it has a replica', async () => {
    const [first] = cluster.nodes as [ClusterNode];
    await cluster.put(`
apiVersion: windlass.dev/v1
kind: Service
metadata: { name: front }
spec:
  mode: Global
  ports: [{ port: 80, publishedPort: 8091 }]
  template:
    spec:
      image: windlass.local/busybox:1
      terminationGracePeriodSeconds: 0
      command: [sh, -c, 'mkdir /w && hostname > /w/index.html && httpd -f -p 80 -h /w']
      networks: [{ name: six }]
`);
    for (const node of cluster.nodes)
      await waitFor(async () => (await first.curl(`http://[${node.ipv6}]:8091/`))?.trim() === `front-${node.name}`, {
        what: `the replica on ${node.name}`,
        timeoutMs: 60_000,
      });
  });

  it('nothing is left behind', async () => {
    await cluster.kubectlOk(['delete', 'services.windlass.dev/front', 'ctr/a', 'ctr/b', 'ctr/c', '--timeout=60s'], {
      timeoutMs: 70_000,
    });
    await cluster.kubectlOk(['delete', 'net/six', 'net/back', '--timeout=60s'], { timeoutMs: 70_000 });
    for (const node of cluster.nodes)
      await waitFor(async () => !/fd00:77:/.test(await node.sh('ip -6 addr; ip -6 route; nft list ruleset')), {
        what: `${node.name} without what was there`,
      });
  });
});
