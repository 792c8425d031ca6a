import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import type { IngressSpec, ServiceBackend, ServicePort } from '../../../runtime-shim/network/node-network.ts';
import { describeInstance, kernelNames } from '../../../lib/instance.ts';
import { openRtnetlink } from '../../../runtime-shim/host/rtnetlink.ts';
import { removeIngressRoutes, syncIngressRoutes } from '../../../runtime-shim/network/ingress-routes.ts';
import { emptyState } from '../../../runtime-shim/network/state.ts';
import { becomeRouter, startMeshHost, type MeshHost } from '../../support/mesh.ts';
import {
  becomePrivateHost,
  startNetwork,
  startPeer,
  type NetworkHarness,
  type Peer,
} from '../../support/node-network.ts';
import { waitFor } from '../../support/wait.ts';

const isRoot = process.getuid?.() === 0;
const INGRESS = 'windlass-system/ingress';
const PORT = 18080;
const CLIENT = '198.51.100.7';

describe('routing mesh of three hosts', { skip: isRoot ? false : 'needs root' }, () => {
  let scratch: NetworkHarness;
  let client: Peer;
  let router: Peer;
  const hosts: MeshHost[] = [];
  const peers: IngressSpec['peers'][number][] = [];
  /** Where each backend is: label -> host number and address there. */
  const backends = new Map<string, { readonly host: number; readonly ip: string }>();
  const host = (n: number): MeshHost => hosts[n - 1] as MeshHost;

  const backendsOn = (n: number, labels: readonly string[], target: number): ServiceBackend[] =>
    labels.map((label) => {
      const { host: at, ip } = backends.get(label) ?? { host: 0, ip: '' };
      return at === n
        ? { id: `${ip}:${target}`, ip, port: target, isRemote: false }
        : { id: `${ip}:${target}`, ip: `10.255.0.${at}`, port: PORT, isRemote: true };
    });
  /** Tells every host of the service, as the agents would. */
  const publish = async (
    labels: readonly string[],
    overrides: Partial<ServicePort> = {},
    target = 80,
    { to = [1, 2, 3], revision = 0 } = {},
  ): Promise<void> => {
    for (const n of to) {
      const port = (protocol: 'TCP' | 'UDP'): ServicePort => ({
        ...{ protocol, virtualIp: '', port: 0, publishedPort: PORT, sessionAffinity: false, clientAddress: 'Preserve' },
        backends: backendsOn(n, labels, target),
        ...overrides,
      });
      const ingress = {
        network: INGRESS,
        ip: `10.255.0.${n}`,
        peers: peers.filter(({ ip }) => ip !== `10.255.0.${n}`),
      };
      const services = [{ id: 'default/web', ports: [port('TCP'), port('UDP')] }];
      assert.deepEqual(await host(n).tell({ op: 'services', services, ingress, revision }), []);
    }
  };
  const askFrom = (n: number, at: string, address: string, protocol: 'TCP' | 'UDP' = 'TCP'): Promise<string> =>
    host(n).peer(at, { op: 'ask', protocol, host: address, port: PORT, timeoutMs: 3000 });

  before(async () => {
    becomePrivateHost();
    scratch = await startNetwork();
    becomeRouter();
    const path = scratch.addNamespace('client');
    const inside = (...args: string[]): void => void execFileSync('nsenter', [`--net=${path}`, 'ip', ...args]);
    execFileSync('ip', ['link', 'add', 'outside', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', path]);
    execFileSync('ip', ['addr', 'add', '198.51.100.1/24', 'dev', 'outside']);
    execFileSync('ip', ['link', 'set', 'outside', 'up']);
    inside('addr', 'add', `${CLIENT}/24`, 'dev', 'eth0');
    inside('link', 'set', 'eth0', 'up');
    inside('route', 'add', 'default', 'via', '198.51.100.1');
    [client, router] = await Promise.all([startPeer(path), startPeer()]);
    // One of them filters by the reverse path, as some distributions do.
    hosts.push(...(await Promise.all([1, 2, 3].map((n) => startMeshHost(n, { rpFilter: n === 2 ? '1' : '0' })))));
    for (const n of [1, 2, 3]) {
      const base = { internal: false, isolated: false, mtu: 1500, domain: '' };
      const ingress = [{ cidr: '10.255.0.0/20', gateway: `10.255.0.${n}`, ranges: [] }];
      const { bridge } = await host(n).tell<{ bridge: string }>({
        op: 'network',
        spec: { ...base, id: INGRESS, subnets: ingress, mtu: 1400 },
        uplink: 'trunk',
      });
      const [link] = JSON.parse(await host(n).tell({ op: 'exec', argv: ['ip', '-j', 'link', 'show', bridge] })) as [
        { address: string },
      ];
      peers.push({ ip: `10.255.0.${n}`, mac: link.address, hosts: [host(n).ip] });
      // The same bridge network on every host, with addresses of its own on each.
      const ranges = [`10.201.0.${n * 32}/27`];
      const spec = { ...base, id: 'default/net', subnets: [{ cidr: '10.201.0.0/24', gateway: '10.201.0.1', ranges }] };
      await host(n).tell({ op: 'network', spec });
      await host(n).tell({ op: 'sandbox', id: `neighbour${n}`, network: 'default/net' });
    }
    for (const [label, n] of [
      ['a', 1],
      ['b', 2],
      ['b2', 2],
    ] as const) {
      const ip = await host(n).tell({ op: 'sandbox', id: label, network: 'default/net' });
      backends.set(label, { host: n, ip });
      for (const protocol of ['TCP', 'UDP'] as const)
        await host(n).peer(label, { op: 'serve', protocol, port: 80, label });
      await host(n).peer(label, { op: 'echo', port: 81, label });
      await host(n).peer(label, { op: 'collect', port: 82, label });
    }
  });

  after(async () => {
    await Promise.all(hosts.map((one) => one.stop()));
    await Promise.all([client?.stop(), router?.stop()]);
    await scratch[Symbol.asyncDispose]();
  });

  for (const protocol of ['TCP', 'UDP'] as const) {
    it(`every host answers over ${protocol}, and the endpoint sees the client, wherever it runs`, async () => {
      await publish(['b']);
      for (const n of [1, 2, 3]) {
        assert.equal(await client.ask(protocol, host(n).ip, PORT), `b ${CLIENT}`, `host ${n}`);
        assert.equal(await router.ask(protocol, host(n).ip, PORT), 'b 192.0.2.254', `host ${n}, client beside it`);
      }
    });
  }

  it('hosts and containers reach a port whose endpoint is elsewhere, by any host', async () => {
    await publish(['b']);
    const asked: [number, string, string, RegExp][] = [
      [1, 'host', '127.0.0.1', /^b 10\.255\.0\.1$/],
      [1, 'host', '192.0.2.1', /^b 192\.0\.2\.1$/],
      [1, 'host', '192.0.2.3', /^b 192\.0\.2\.1$/],
      [1, 'neighbour1', '192.0.2.1', /^b 10\.255\.0\.1$/],
      [3, 'neighbour3', '192.0.2.1', /^b 192\.0\.2\.3$/],
      // From the endpoint's own host by another one, and there from its own network and itself.
      [2, 'host', '192.0.2.1', /^b 10\.255\.0\.1$/],
      [2, 'neighbour2', '192.0.2.1', /^b 10\.255\.0\.1$/],
      [2, 'b', '192.0.2.3', /^b 10\.255\.0\.3$/],
    ];
    for (const [n, at, address, expected] of asked)
      assert.match(await askFrom(n, at, address), expected, `${at} of host ${n} by ${address}`);
  });

  it('Masquerade: the endpoint sees a host of the cluster, local or not', async () => {
    await publish(['b'], { clientAddress: 'Masquerade' });
    for (const n of [1, 2]) assert.equal(await client.ask('TCP', host(n).ip, PORT), 'b 10.201.0.1');
  });

  it('ProxyProtocol: the endpoint is told the client by a header, local or not, and its answer comes after the last word', async () => {
    const relayed = { clientAddress: 'ProxyProtocol' } as const;
    const say = (from: Peer, address: string): Promise<string> =>
      from.send({ op: 'ask', protocol: 'TCP', host: address, port: PORT, timeoutMs: 5000, text: 'hello' });
    await publish(['b'], relayed, 82);
    for (const [from, sees, reached] of [
      [client, CLIENT, host(1).ip],
      [client, CLIENT, host(2).ip],
      [router, '192.0.2.254', host(3).ip],
    ] as const)
      assert.match(
        await say(from, reached),
        new RegExp(
          `^b (10\\.255\\.0\\.1|10\\.201\\.0\\.1|10\\.255\\.0\\.3) PROXY TCP4 ${sees} ${reached} \\d+ ${PORT}\r\nhello$`,
        ),
      );
    const own = await host(1).peer('host', {
      ...{ op: 'ask', protocol: 'TCP', host: '127.0.0.1', port: PORT, timeoutMs: 5000, text: 'hello' },
    });
    assert.match(own, new RegExp(`PROXY TCP4 127\\.0\\.0\\.1 127\\.0\\.0\\.1 \\d+ ${PORT}\r\nhello$`));
    // Nobody gets to the listener but by the published port.
    const { table } = await host(1).tell<{ table: string }>({ op: 'table' });
    const set = await host(1).tell({ op: 'exec', argv: ['nft', 'list', 'set', 'inet', table, 'relays'] });
    const listener = Number(/elements = \{ (\d+) \}/.exec(set)?.[1]);
    await assert.rejects(client.ask('TCP', host(1).ip, listener), /ECONNREFUSED/);
    await host(1).tell({ op: 'restart' });
    assert.match(
      await say(client, host(1).ip),
      /hello$/,
      'after a restart of the shim, before anybody has told it again',
    );
    await publish([], relayed, 82);
    await assert.rejects(client.ask('TCP', host(1).ip, PORT), /ECONNREFUSED/);
    await publish(['b']);
    assert.equal(await client.ask('TCP', host(1).ip, PORT), `b ${CLIENT}`);
  });

  it('spreads over all endpoints of all hosts alike', async () => {
    await publish(['a', 'b', 'b2']);
    for (const n of [1, 3]) {
      const seen = new Map<string, number>();
      for (let index = 0; index < 60; index += 1) {
        const [label = ''] = (await client.ask('TCP', host(n).ip, PORT)).split(' ');
        seen.set(label, (seen.get(label) ?? 0) + 1);
      }
      assert.deepEqual([...seen.keys()].toSorted(), ['a', 'b', 'b2']);
      // 20 expected; below 5 once in a hundred thousand runs.
      assert.ok(
        [...seen.values()].every((count) => count >= 5),
        JSON.stringify([...seen]),
      );
    }
  });

  it('sessionAffinity: a client gets to the same endpoint by every host, and stays when another one goes', async () => {
    await publish(['a', 'b', 'b2'], { sessionAffinity: true });
    const labels = new Set<string>();
    for (const n of [1, 2, 3, 1, 2, 3]) labels.add((await client.ask('TCP', host(n).ip, PORT)).split(' ')[0] ?? '');
    const [own = ''] = labels;
    assert.equal(labels.size, 1, [...labels].join(' '));
    const other = ['a', 'b', 'b2'].find((label) => label !== own) ?? '';
    await publish(
      ['a', 'b', 'b2'].filter((label) => label !== other),
      { sessionAffinity: true },
    );
    for (const n of [1, 2, 3]) assert.match(await client.ask('TCP', host(n).ip, PORT), new RegExp(`^${own} `));
  });

  it('UDP: a client that keeps its port is led on when its endpoint goes, and left alone when another one does', async () => {
    const ask = (n: number): Promise<string> =>
      client.send({ op: 'ask', protocol: 'UDP', host: host(n).ip, port: PORT, timeoutMs: 3000, localPort: 45_000 });
    await publish(['b', 'b2']);
    for (const n of [1, 2]) {
      await publish(['b', 'b2']);
      const [own = ''] = (await ask(n)).split(' ');
      const other = own === 'b' ? 'b2' : 'b';
      await publish([own, 'a']);
      for (let index = 0; index < 5; index += 1) assert.equal(await ask(n), `${own} ${CLIENT}`, 'left alone');
      await publish([other]);
      assert.equal(await ask(n), `${other} ${CLIENT}`, 'led on');
    }
  });

  it('no endpoint anywhere: refused at once; none where it was sent: refused by way of the first host', async () => {
    await publish([]);
    for (const n of [1, 2]) await assert.rejects(client.ask('TCP', host(n).ip, PORT), /ECONNREFUSED/);
    await publish(['b']);
    const own = '10.255.0.2';
    const ingress = { network: INGRESS, ip: own, peers: peers.filter(({ ip }) => ip !== own) };
    await host(2).tell({ op: 'services', services: [], ingress });
    await assert.rejects(client.ask('TCP', host(1).ip, PORT), /ECONNREFUSED/);
  });

  it('only peers are listened to on the ingress network, and nobody gets there from outside', async () => {
    await publish(['b']);
    assert.equal(await client.ask('TCP', host(1).ip, PORT), `b ${CLIENT}`);
    // A machine on the wire that is no node.
    execFileSync('ip', ['addr', 'add', '10.255.0.99/20', 'dev', 'switch']);
    await assert.rejects(router.ask('TCP', '10.255.0.2', PORT, 500), /timeout/, 'stranger');
    execFileSync('ip', ['addr', 'del', '10.255.0.99/20', 'dev', 'switch']);
    await host(1).tell({ op: 'exec', argv: ['ip', 'addr', 'add', '10.201.0.40/32', 'dev', 'lo'] });
    const spoofed = host(1).peer('host', {
      ...{ op: 'ask', protocol: 'TCP', host: '10.255.0.2', port: PORT, timeoutMs: 500 },
      localAddress: '10.201.0.40',
    });
    await assert.rejects(spoofed, 'a node cannot speak for a container of another');
    await host(1).tell({ op: 'exec', argv: ['ip', 'addr', 'del', '10.201.0.40/32', 'dev', 'lo'] });
    execFileSync('ip', ['route', 'add', '10.255.0.0/20', 'via', host(2).ip]);
    await assert.rejects(router.ask('TCP', '10.255.0.2', PORT, 500), /timeout/, 'by a route of its own');
    await assert.rejects(router.ask('TCP', '10.255.0.1', PORT, 500), /timeout/, 'through a node');
    execFileSync('ip', ['route', 'del', '10.255.0.0/20']);
    const neighbour = host(1).peer('neighbour1', {
      ...{ op: 'ask', protocol: 'TCP', host: '10.255.0.2', port: PORT, timeoutMs: 500 },
    });
    await assert.rejects(neighbour, /timeout|ECONN/, 'a container');
  });

  it('routing rules that somebody removed are made anew, and none is left without an ingress network', async () => {
    await publish(['b']);
    const rules = (): Promise<string> => host(2).tell({ op: 'exec', argv: ['ip', 'rule'] });
    const whole = await rules();
    assert.match(whole, /fwmark 0x10000\/0xfff0000 lookup/);
    const preferences = [...whole.matchAll(/^(\d+):.*fwmark/gm)].map(([, preference]) => preference ?? '');
    for (const preference of preferences)
      await host(2).tell({ op: 'exec', argv: ['ip', 'rule', 'del', 'pref', preference] });
    await waitFor(async () => (await rules()) === whole, { what: 'the rules' });
    assert.equal(await client.ask('TCP', host(1).ip, PORT), `b ${CLIENT}`);
    await host(2).tell({ op: 'services', services: [] });
    assert.doesNotMatch(await rules(), /fwmark/);
    const ingress = {
      network: INGRESS,
      ip: '10.255.0.2',
      peers: [{ ip: '192.0.2.9', mac: '0a:00:00:00:00:09', hosts: [] }],
    };
    await assert.rejects(
      host(2).tell({ op: 'services', services: [], ingress }),
      /192\.0\.2\.9 is not among the first/,
    );
  });

  it('a host that falls silent gets no client any more, nor one who knocks meanwhile, until it answers again', async () => {
    await publish(['a', 'b']);
    const askAll = (count: number): Promise<string[]> =>
      Promise.all(
        Array.from({ length: count }, async (_, index) => {
          const answer = await client.ask('TCP', host(index % 2 === 0 ? 1 : 3).ip, PORT, 8000);
          return answer.split(' ')[0] ?? '';
        }),
      );
    const everywhere = async (): Promise<boolean> => {
      // Neither host may know one endpoint alone.
      const seen = await askAll(32);
      return [0, 1].every((from) => new Set(seen.filter((_, index) => index % 2 === from)).size === 2);
    };
    await waitFor(everywhere, { what: 'both endpoints by both hosts', timeoutMs: 20_000 });
    execFileSync('ip', ['link', 'set', 'trunk2', 'down']);
    // The first of them knock where nobody answers, before anybody can know: the next packet of each is led to host 1.
    assert.deepEqual([...new Set(await askAll(20))], ['a']);
    await publish(['b']);
    await assert.rejects(client.ask('TCP', host(1).ip, PORT, 1000), /timeout/, 'the only one is kept');
    await publish(['a', 'b']);
    execFileSync('ip', ['link', 'set', 'trunk2', 'up']);
    await waitFor(everywhere, { what: 'the host that is back', timeoutMs: 20_000 });
  });

  it('a host knows when the others have the tables of a revision, and takes in for who is about to stop until then', async () => {
    await publish(['a', 'b'], {}, 80, { revision: 7 });
    const awaitPeers = (revision: number, timeoutMs: number): Promise<readonly string[]> =>
      host(2).tell({ op: 'await-peers', revision, timeoutMs });
    assert.deepEqual(await awaitPeers(7, 20_000), []);
    const draining = backendsOn(2, ['b'], 80).map((backend) => ({ ...backend, isDraining: true }));
    await publish(['b'], { backends: [...draining, ...backendsOn(2, ['a'], 80)] }, 80, { to: [2], revision: 8 });
    assert.deepEqual((await awaitPeers(8, 0)).toSorted(), ['10.255.0.1', '10.255.0.3']);
    assert.equal(await client.ask('TCP', host(2).ip, PORT), `a ${CLIENT}`, 'its own clients go elsewhere');
    const isTaken = async (): Promise<boolean> => (await client.ask('TCP', host(1).ip, PORT)) === `b ${CLIENT}`;
    await waitFor(isTaken, { what: 'a client of another host, which does not know yet' });
    await publish(['a'], {}, 80, { to: [1], revision: 8 });
    assert.deepEqual(await awaitPeers(8, 500), ['10.255.0.3']);
    // The same tables as of a newer revision.
    await publish(['a'], {}, 80, { to: [3], revision: 7 });
    await publish(['a'], {}, 80, { to: [3], revision: 9 });
    assert.deepEqual(await awaitPeers(8, 20_000), []);
  });

  it('an endpoint that leaves gets no new connection, and the open ones go on, over a restart of the shim too', async () => {
    const target = (labels: readonly string[]): Promise<void> => publish(labels, {}, 81);
    await target(['b']);
    const open = (name: string, n: number, localPort?: number): Promise<string> =>
      client.send({
        ...{ op: 'open', name, host: host(n).ip, port: PORT, timeoutMs: 3000 },
        ...(localPort === undefined ? {} : { localPort }),
      });
    const say = (name: string): Promise<string> => client.send({ op: 'say', name, text: name, timeoutMs: 3000 });
    // Two that look the same to the endpoint's host: one client, one port, one destination there.
    await open('by1', 1, 40_000);
    await open('by3', 3, 40_000);
    await open('local', 2, 40_000);
    const goOn = async (): Promise<void> => {
      for (const name of ['by1', 'by3', 'local']) assert.equal(await say(name), `b ${CLIENT} ${name}`);
    };
    await goOn();
    await target(['a']);
    await goOn();
    await open('late', 3);
    assert.equal(await say('late'), `a ${CLIENT} late`);
    for (const n of [1, 2, 3]) await host(n).tell({ op: 'restart' });
    await goOn();
    // Before anybody has told them again.
    await open('after', 2);
    assert.equal(await say('after'), `a ${CLIENT} after`);
  });
});

describe('routes of the ingress network', { skip: isRoot ? false : 'needs root' }, () => {
  it('are found and removed from the kernel alone, and those of others are left', () => {
    becomePrivateHost();
    const instance = describeInstance('/tmp/mesh-routes/home', '/tmp/mesh-routes/run');
    const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' });
    ip('link', 'add', kernelNames.bridge(instance, INGRESS), 'type', 'bridge');
    ip('link', 'set', kernelNames.bridge(instance, INGRESS), 'up');
    // Where every rule of the instance may be, too.
    const own = 1000 + (Number.parseInt(instance.id.slice(0, 4), 16) % 0x1000) * 4;
    for (const preference of [own, own + 2, 20_000])
      ip('rule', 'add', 'pref', `${preference}`, 'fwmark', '0x10000/0xffff0000', 'lookup', '99');
    const before = ip('rule');
    const state = emptyState();
    const subnets = [{ cidr: '10.255.0.0/20', gateway: '10.255.0.1', ranges: [] }];
    const settings = { internal: false, isolated: false, mtu: 1500, domain: '' };
    state.networks.set(INGRESS, { id: INGRESS, subnets, ...settings });
    state.ingress = {
      ...{ network: INGRESS, ip: '10.255.0.1' },
      peers: [2, 3].map((n) => ({ ip: `10.255.0.${n}`, mac: `0a:00:0a:ff:00:0${n}`, hosts: [] })),
    };
    using socket = openRtnetlink();
    assert.equal(syncIngressRoutes(instance, state, socket), 7);
    // Routes of others, of which a router has very many, are not even looked at.
    const others = Array.from({ length: 200 }, (_, n) => `route add 198.18.${n}.0/24 dev lo table 99`).join('\n');
    execFileSync('ip', ['-batch', '-'], { input: others });
    const answers: number[] = [];
    const request = socket.request.bind(socket);
    socket.request = (requests) => {
      const messages = request(requests);
      answers.push(messages.length);
      return messages;
    };
    assert.equal(syncIngressRoutes(instance, state, socket), 0, 'nothing differs any more');
    assert.ok(Math.max(...answers) < 50, `lists of ${answers.join(', ')}`);
    ip('route', 'flush', 'table', '99');
    assert.match(ip('route', 'show', 'table', 'all'), /^default via 10\.255\.0\.3 dev wl/m);
    removeIngressRoutes(instance, socket);
    assert.equal(ip('rule'), before);
    assert.doesNotMatch(ip('route', 'show', 'table', 'all'), /^default/m);
  });
});
