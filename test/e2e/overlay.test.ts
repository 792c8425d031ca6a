// Overlay networks over three hosts: what is written in YAML, and what containers on different nodes reach.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startCluster, type Cluster, type ClusterNode } from '../support/cluster.ts';
import { kernelNames } from '../../lib/instance.ts';
import { waitFor } from '../support/wait.ts';

const PURGE = fileURLToPath(new URL('../../runtime-shim/purge.ts', import.meta.url));
const isRoot = process.getuid?.() === 0;

describe('overlay networks over three nodes', { skip: isRoot ? false : 'needs root' }, () => {
  let cluster: Cluster;
  before(async () => {
    cluster = await startCluster();
  });
  after(async () => cluster?.[Symbol.asyncDispose]());

  const network = async (name: string, path: string, namespace = 'default'): Promise<string> =>
    (await cluster.kubectl(['get', 'net', name, '-n', namespace, '-o', `jsonpath={.status.${path}}`])).stdout;
  const addressOf = (container: string, on: string): Promise<string> =>
    waitFor(
      async () =>
        (
          await cluster.kubectlOk([
            ...['get', 'ctr', container, '-o', `jsonpath={.status.networks[?(@.name=="${on}")].ipv4Address}`],
          ])
        ).trim() || undefined,
      { what: `an address of ${container} on ${on}`, timeoutMs: 60_000 },
    );
  /** In the network namespace of a container: output of a script, undefined when it fails. */
  const inside = async (container: string, script: string): Promise<string | undefined> => {
    const { code, stdout } = await cluster.kubectl(['exec', container, '--', 'sh', '-c', script], {
      timeoutMs: 20_000,
    });
    return code === 0 ? stdout.trim() : undefined;
  };
  /** Name of the container that answers at an address. */
  const ask = (container: string, ip: string): Promise<string | undefined> =>
    inside(container, `(echo 'GET / HTTP/1.0'; echo) | nc -w 2 ${ip} 80 | tail -n 1`);
  const reaches = async (container: string, ip: string): Promise<boolean> => ((await ask(container, ip)) ?? '') !== '';
  const container = (name: string, node: ClusterNode | undefined, networks: string): string => `
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: ${name} }
spec:
  image: windlass.local/busybox:1
  nodeName: ${node?.name}
  terminationGracePeriodSeconds: 0
  command: [sh, -c, 'mkdir /w && echo ${name} > /w/index.html && httpd -f -p 80 -h /w']
  networks: ${networks}
`;

  it('containers of one overlay reach each other by address on any node, those of another network do not', async () => {
    const [first, second, third] = cluster.nodes;
    await cluster.put(
      [
        ...['back', 'other'].map(
          (name) =>
            `apiVersion: windlass.dev/v1\nkind: Network\nmetadata: { name: ${name} }\nspec: { driver: overlay }\n`,
        ),
        container('a', first, '[{ name: back, aliases: [alpha] }, { name: default }]'),
        container('b', second, '[{ name: back }]'),
        container('c', third, '[{ name: back }]'),
        container('x', second, '[{ name: other }]'),
      ].join('---\n'),
    );
    await cluster.kubectlOk(['wait', '--for=condition=Ready', 'ctr', 'a', 'b', 'c', 'x', '--timeout=90s'], {
      timeoutMs: 100_000,
    });
    const [a, b, c, x] = await Promise.all([
      ...['a', 'b', 'c'].map((name) => addressOf(name, 'back')),
      addressOf('x', 'other'),
    ]);
    for (const [from, to] of [
      ['a', b],
      ['b', c],
      ['c', a],
    ] as const)
      await waitFor(() => reaches(from, String(to)), { what: `${from} reaching ${to}`, timeoutMs: 30_000 });
    assert.equal(await ask('b', String(a)), 'a');
    assert.equal(await inside('b', `ping -c 1 -W 5 ${c} > /dev/null && echo up`), 'up');
    assert.equal(await reaches('x', String(a)), false, 'another overlay');
    assert.equal(await reaches('b', String(x)), false, 'another overlay on the same node');
  });

  it('says what it allocated: VNIs apart, an address per node, the built-in ingress on every node', async () => {
    const vnis = await Promise.all([
      network('back', 'vni'),
      network('other', 'vni'),
      network('ingress', 'vni', 'windlass-system'),
    ]);
    assert.equal(new Set(vnis).size, 3, vnis.join(' '));
    const uid = (): Promise<string> => ingressOf('metadata.uid');
    const first = await uid();
    await cluster.kubectlOk(['delete', 'net', 'ingress', '-n', 'windlass-system', '--wait=false']);
    await waitFor(async () => !['', first].includes(await uid()), { what: 'another ingress', timeoutMs: 30_000 });
    const reached = await waitFor(
      async () => {
        const ips = (await network('ingress', 'nodes[*].ipv4Address', 'windlass-system')).split(' ');
        return ips.length === 3 ? ips : undefined;
      },
      { what: 'ingress on three nodes' },
    );
    const [one] = cluster.nodes as [ClusterNode];
    for (const ip of reached)
      await waitFor(
        () =>
          one.sh(`busybox ping -c 1 -W 1 ${ip}`).then(
            () => true,
            () => false,
          ),
        {
          what: `node-1 reaching ${ip} over ingress`,
          timeoutMs: 30_000,
        },
      );
  });

  const ingressOf = async (path: string): Promise<string> =>
    (await cluster.kubectl(['get', 'net', 'ingress', '-n', 'windlass-system', '-o', `jsonpath={.${path}}`])).stdout;

  it('says on which node an overlay cannot be, and why', async () => {
    await cluster.put(
      [
        'apiVersion: windlass.dev/v1\nkind: Network\nmetadata: { name: big }\nspec: { driver: overlay, mtu: 1500 }\n',
        container('d', cluster.nodes[0], '[{ name: big }]'),
        'apiVersion: windlass.dev/v1\nkind: Network\nmetadata: { name: wire }\nspec: { driver: overlay, subnets: [{ cidr: 10.250.0.0/16 }] }\n',
      ].join('---\n'),
    );
    const message = (name: string): Promise<string> => network(name, 'conditions[?(@.type=="Ready")].message');
    const wanted = /not usable on node node-1 \(.*mtu 1500 does not fit: eth0 has an MTU of 1500 .* want at most 1450/;
    await waitFor(async () => wanted.test(await message('big')), { what: 'the reason of big', timeoutMs: 30_000 });
    const overlaps = /spec.subnets\[0\].cidr: 10.250.0.0\/16 overlaps 10.250.0.* of the routes of node node-/;
    await waitFor(async () => overlaps.test(await message('wire')), { what: 'the reason of wire' });
    await cluster.kubectlOk(['patch', 'net', 'big', '--type=merge', '-p', '{"spec":{"mtu":1400}}']);
    await cluster.kubectlOk(['wait', '--for=condition=Ready', 'ctr', 'd', '--timeout=30s'], { timeoutMs: 40_000 });
    assert.match((await inside('d', 'cat /sys/class/net/eth0/mtu')) ?? '', /^1400$/);
  });

  it('a dead node leaves, and a container that is attached live is reached', async () => {
    const [first, second, third] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
    const lost = await network('back', 'endpoints[?(@.container=="c")].macAddress');
    assert.match(await first.sh('bridge fdb'), new RegExp(lost));
    await third.powerOff();
    const names = (): Promise<string> => network('back', 'endpoints[*].container');
    await waitFor(async () => (await names()) === 'a b', {
      what: 'the endpoint of the dead node leaving',
      timeoutMs: 60_000,
    });
    for (const node of [first, second])
      await waitFor(async () => !(await node.sh('bridge fdb')).includes(lost), {
        what: `${node.name} forgetting the dead`,
        timeoutMs: 6000,
      });
    await cluster.kubectlOk([
      'patch',
      'ctr',
      'x',
      '--type=merge',
      '-p',
      '{"spec":{"networks":[{"name":"other"},{"name":"back"}]}}',
    ]);
    const x = await addressOf('x', 'back');
    await waitFor(() => reaches('a', x), { what: 'a reaching x', timeoutMs: 30_000 });
    await cluster.kubectlOk(['patch', 'ctr', 'x', '--type=merge', '-p', '{"spec":{"networks":[{"name":"other"}]}}']);
    await waitFor(async () => !(await reaches('a', x)), { what: 'x leaving', timeoutMs: 30_000 });
    await cluster.kubectlOk(['delete', 'ctr/x', 'net/other', '--timeout=30s'], { timeoutMs: 40_000 });
    const device = kernelNames.vxlan(second.instance, 'default/other');
    await waitFor(async () => !(await second.sh('ip -o link')).includes(device), { what: 'the device leaving' });
  });

  it('agent and shim killed and started again find all as it was; a purge leaves nothing', async () => {
    const [first, second] = cluster.nodes as [ClusterNode, ClusterNode];
    const b = await addressOf('b', 'back');
    const devices = (): Promise<string> => first.sh('ip -o link show type vxlan');
    const before = await devices();
    await first.killProcesses();
    assert.equal(await reachesFrom(first, b), true, 'while nobody watches');
    await first.start();
    await cluster.waitForReady('node-1');
    // The node may count as Ready yet when its agent has not begun.
    await waitFor(() => reaches('a', b), { what: 'a reaching b', timeoutMs: 90_000 });
    assert.equal(await devices(), before, 'made once');

    await second.killProcesses();
    const { home, run } = second.instance;
    await second.machine.run([process.execPath, PURGE, '--home', home, '--run', run], { timeoutMs: 60_000 });
    assert.equal(await second.sh('ip -o link | grep -c " wl" || true'), '0');
    assert.equal(await second.sh('nft list tables'), '');
  });

  /** From the node itself, which has an address on the overlay. */
  const reachesFrom = async (node: ClusterNode, ip: string): Promise<boolean> =>
    (await node.curl(`http://${ip}/`)) !== undefined;
});
