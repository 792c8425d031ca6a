import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { kernelNames } from '../../../lib/instance.ts';
import type { NetworkSpec, OverlayPeers } from '../../../runtime-shim/network/node-network.ts';
import { ipv4Packet } from '../../support/raw-frames.ts';
import { waitFor } from '../../support/wait.ts';
import { ipv6Of } from '../../../lib/ipv6.ts';
import { becomePrivateHost, makeIpv6, type Sandbox } from '../../support/node-network.ts';
import {
  makeOverlay,
  nodeMacOf,
  startOverlayHosts,
  type OverlayHost,
  type OverlayHosts,
} from '../../support/overlay-hosts.ts';

const isRoot = process.getuid?.() === 0;
const PLAIN = 201;
const ISOLATED = 202;
const INTERNAL = 203;
const OCTETS = [PLAIN, ISOLATED, INTERNAL];
/** Prints what a server at the address, on port 80, says. */
const ASK = `require('net').connect(80, process.argv[1]).pipe(process.stdout)`;

describe('overlay over three hosts', { skip: isRoot ? false : 'needs root' }, () => {
  let all: OverlayHosts;
  let hosts: readonly OverlayHost[];
  const sandboxes = new Map<string, { sandbox: Sandbox; host: number }>();

  const specOf = (octet: number, index: number): NetworkSpec =>
    makeOverlay(octet, hosts[index] as OverlayHost, index, {
      isolated: octet === ISOLATED,
      internal: octet === INTERNAL,
    });
  /** What host number `index` is told of the others. */
  const peersOf = (octet: number, index: number): OverlayPeers => {
    const others = hosts.map((host, number) => ({ host, number })).filter(({ number }) => number !== index);
    const nodes = others.map(({ host, number }) => ({
      ...{ ip: `10.${octet}.${number}.2`, mac: nodeMacOf(octet, number), host: host.address },
    }));
    const containers = [...sandboxes.values()]
      .filter(({ host }) => host !== index)
      .flatMap(({ sandbox, host }) =>
        sandbox.network.interfaces
          .filter(({ network }) => network === `default/net${octet}`)
          .map(({ ipv4Address, macAddress }) => ({
            ...{ ip: ipv4Address, mac: macAddress, host: hosts[host]?.address ?? '' },
          })),
      );
    return { hosts: others.map(({ host }) => host.address), endpoints: [...nodes, ...containers] };
  };
  const tellPeers = async (): Promise<void> => {
    for (const [index, host] of hosts.entries())
      for (const octet of OCTETS) await host.network('setPeers', `default/net${octet}`, peersOf(octet, index));
  };
  const add = async (id: string, host: number, octets: readonly number[]): Promise<Sandbox> => {
    const sandbox = await (hosts[host] as OverlayHost).addSandbox(
      id,
      octets.map((octet) => `default/net${octet}`),
    );
    sandboxes.set(id, { sandbox, host });
    return sandbox;
  };
  const device = (host: OverlayHost, octet: number): string => kernelNames.vxlan(host.instance, `default/net${octet}`);

  let web: Sandbox;
  let client: Sandbox;
  before(async () => {
    becomePrivateHost();
    all = await startOverlayHosts(3);
    hosts = all.hosts;
    for (const [index, host] of hosts.entries()) {
      for (const octet of OCTETS) await host.network('ensureNetwork', specOf(octet, index));
      await host.send({ op: 'watch' });
    }
    web = await add('web', 0, [PLAIN]);
    client = await add('client', 1, [PLAIN, INTERNAL]);
    await tellPeers();
    await web.peer.serve('TCP', 80, 'web');
  });
  after(() => all?.[Symbol.asyncDispose]());

  it('connects containers of different hosts by address, with their own address as the source', async () => {
    assert.equal(await client.peer.ask('TCP', web.ip, 80), `web ${client.ip}`);
    assert.equal(web.ip, '10.201.0.3', 'the address of the node itself is not given out');
  });

  it('passes a full-size packet whole', async () => {
    const [first] = hosts as [OverlayHost];
    assert.equal(await first.send({ op: 'mtu', underlayIp: first.address, wanted: 0 }), 1450);
    await assert.rejects(first.send({ op: 'mtu', underlayIp: first.address, wanted: 1451 }), /at most 1450/);
    await assert.rejects(first.send({ op: 'mtu', underlayIp: '192.0.2.99', wanted: 0 }), /no link of this host/);
    await web.peer.serve('UDP', 53, 'web');
    // With IP and UDP header as large as the MTU; the kernel sends it with DF.
    const hex = '00'.repeat(1450 - 28);
    const answer = await client.peer.send({ op: 'datagram', host: web.ip, port: 53, hex, timeoutMs: 5000 });
    assert.equal(Buffer.from(answer, 'hex').toString(), `web ${client.ip}`);
    for (const host of hosts) assert.equal(await fragments(host), 0);
  });

  const fragments = async (host: OverlayHost): Promise<number> => {
    const [names, values] = (await host.exec('cat', '/proc/net/snmp'))
      .split('\n')
      .filter((line) => line.startsWith('Ip:'))
      .map((line) => line.split(' ')) as [string[], string[]];
    return Number(values[names.indexOf('FragCreates')]);
  };

  /** Packets that the host has sent into the overlay, and those it dropped there. */
  const sent = async (host: OverlayHost, octet: number): Promise<{ packets: number; dropped: number }> => {
    const json = await host.exec('ip', '-s', '-j', 'link', 'show', 'dev', device(host, octet));
    const [{ stats64 }] = JSON.parse(json) as [{ stats64: { tx: { packets: number; dropped: number } } }];
    return stats64.tx;
  };
  const received = async (host: OverlayHost, octet: number): Promise<number> => {
    const json = await host.exec('ip', '-s', '-j', 'link', 'show', 'dev', device(host, octet));
    const [{ stats64 }] = JSON.parse(json) as [{ stats64: { rx: { packets: number } } }];
    return stats64.rx.packets;
  };
  const at = (index: number): OverlayHost => hosts[index] as OverlayHost;
  const silence = (question: Promise<string>, what: string): Promise<void> =>
    assert.rejects(question, /timeout|EHOSTUNREACH/, what);

  it('lets no broadcast and nothing without an entry leave', async () => {
    // The end of an earlier connection may still be on its way: one look in which nothing leaves is enough, as a question
    // that left would do so each time.
    const sendsNothing = async (): Promise<boolean> => {
      const before = await sent(at(1), PLAIN);
      await silence(client.peer.ask('TCP', '10.201.5.5', 80, 500), 'an address that nobody has');
      return isDeepStrictEqual(await sent(at(1), PLAIN), before);
    };
    await waitFor(sendsNothing, { timeoutMs: 15_000, what: 'a question for nobody that stays at home' });
  });

  it('keeps networks apart on every node, and hosts out that are no peers', async () => {
    const stranger = await add('stranger', 1, [ISOLATED]);
    const near = await add('near', 1, [ISOLATED]);
    const far = await add('far', 2, [ISOLATED]);
    await tellPeers();
    await far.peer.serve('TCP', 80, 'far');
    await near.peer.serve('TCP', 80, 'near');
    await silence(stranger.peer.ask('TCP', web.ip, 80, 500), 'another network');
    await silence(stranger.peer.ask('TCP', near.ip, 80, 500), 'isolated, same node');
    await silence(stranger.peer.ask('TCP', far.ip, 80, 500), 'isolated, other node');
    const peers = peersOf(PLAIN, 0);
    const others = {
      hosts: peers.hosts.slice(1),
      endpoints: peers.endpoints.filter(({ host }) => host !== at(1).address),
    };
    await at(0).network('setPeers', `default/net${PLAIN}`, others);
    const before = await received(at(0), PLAIN);
    await silence(client.peer.ask('TCP', web.ip, 80, 500), 'a host that is no peer any more');
    assert.equal(await received(at(0), PLAIN), before);
    await tellPeers();
    assert.equal(await client.peer.ask('TCP', web.ip, 80), `web ${client.ip}`);
  });

  it('an internal overlay connects nodes and leads nowhere else', async () => {
    const inner = await add('inner', 0, [INTERNAL]);
    await tellPeers();
    await inner.peer.serve('TCP', 80, 'inner');
    const own = client.network.interfaces[1]?.ipv4Address;
    assert.equal(await client.peer.ask('TCP', inner.ip, 80), `inner ${own}`);
    await assert.rejects(inner.peer.ask('TCP', at(1).address, 80, 500), /ENETUNREACH|timeout/);
  });

  it('a container cannot send as another one, nor as a node', async () => {
    const liar = await add('liar', 2, [PLAIN]);
    await tellPeers();
    const within = (...argv: readonly string[]): Promise<string> =>
      at(2).exec('nsenter', `--net=${liar.netns}`, 'ip', ...argv);
    await within('addr', 'add', '10.201.2.77/20', 'dev', 'eth0');
    const asOther = { op: 'ask', protocol: 'TCP', host: web.ip, port: 80, timeoutMs: 500 } as const;
    await silence(liar.peer.send({ ...asOther, localAddress: '10.201.2.77' }), 'an address that is not its own');
    // What another node would take for a packet of the overlay: flags, VNI, and an Ethernet frame for the web container. A
    // whole one: kernels since 2024 drop what is too short for what it says it holds, whoever sent it.
    const frame = ipv4Packet('0a:00:00:00:c9:02', '10.201.2.77', web.ip).toString('hex');
    const hex = `08000000${(1000 + PLAIN).toString(16).padStart(6, '0')}00${frame}`;
    const before = await received(at(0), PLAIN);
    await silence(
      liar.peer.send({ op: 'datagram', host: at(0).address, port: 4789, hex, timeoutMs: 300 }),
      'a forged packet',
    );
    assert.equal(await received(at(0), PLAIN), before, 'what a container forges does not enter the overlay');
  });

  for (const netfilter of ['1', '0'])
    it(`balances a virtual address over containers of other nodes with bridge-nf-call-iptables=${netfilter}`, async () => {
      const write = `echo ${netfilter} > /proc/sys/net/bridge/bridge-nf-call-iptables || true`;
      for (const host of hosts) await host.exec('sh', '-c', write);
      await balance();
    });
  const balance = async (): Promise<void> => {
    const virtualIp = `10.${PLAIN}.15.1`;
    const port = { protocol: 'TCP', virtualIp, port: 8080, publishedPort: 0, sessionAffinity: false };
    const services = [{ id: 'default/web', ports: [{ ...port, backends: [{ ip: web.ip, port: 80 }] }] }];
    for (const host of hosts) await host.network('setServices', services);
    assert.equal(await client.peer.ask('TCP', virtualIp, 8080), `web 10.${PLAIN}.1.2`, 'by the node that asked');
    assert.equal(await client.peer.ask('TCP', web.ip, 80), `web ${client.ip}`, 'without it');
  };

  it('what someone deletes or changes is back within seconds', async () => {
    const host = at(1);
    const [name, mac] = [device(host, PLAIN), web.network.interfaces[0]?.macAddress ?? ''];
    const bridge = kernelNames.bridge(host.instance, `default/net${PLAIN}`);
    const isHealed = (): Promise<boolean> =>
      client.peer.ask('TCP', web.ip, 80, 400).then(
        () => true,
        () => false,
      );
    const breaks: readonly (readonly [string, ...string[]])[] = [
      ['ip', 'link', 'delete', name],
      ['ip', 'link', 'set', name, 'down'],
      ['ip', 'link', 'set', name, 'nomaster'],
      ['bridge', 'fdb', 'delete', mac, 'dev', name, 'self'],
      ['bridge', 'fdb', 'delete', mac, 'dev', name, 'master'],
      ['bridge', 'fdb', 'replace', mac, 'dev', name, 'dst', '192.0.2.77', 'self'],
      ['ip', 'neigh', 'delete', web.ip, 'dev', bridge],
      ['ip', 'neigh', 'replace', web.ip, 'lladdr', '02:00:00:00:00:99', 'dev', bridge, 'nud', 'permanent'],
      ['nft', 'flush', 'set', 'inet', kernelNames.nftTable(host.instance), 'peers'],
    ];
    for (const words of breaks) {
      const expected = await entries(host, PLAIN);
      await host.exec(...words);
      const isBack = async (): Promise<boolean> => (await isHealed()) && (await entries(host, PLAIN)) === expected;
      await waitFor(isBack, { what: `repair after ${words.join(' ')}`, timeoutMs: 20_000 });
    }
    await host.exec('bridge', 'fdb', 'append', '00:00:00:00:00:00', 'dev', name, 'dst', '192.0.2.77', 'self');
    const isGone = async (): Promise<boolean> =>
      !(await host.exec('bridge', 'fdb', 'show', 'dev', name)).includes('.77');
    await waitFor(isGone, { what: 'a foreign flood entry leaving', timeoutMs: 10_000 });
  });

  /** Forwarding and neighbour entries of the overlay, sorted. */
  const entries = async (host: OverlayHost, octet: number): Promise<string> => {
    const fdb = await host.exec('bridge', 'fdb', 'show', 'dev', device(host, octet)).catch(() => '');
    const bridge = kernelNames.bridge(host.instance, `default/net${octet}`);
    const neighbours = await host.exec('ip', 'neigh', 'show', 'dev', bridge, 'nud', 'permanent');
    return [...fdb.split('\n').filter((line) => line.includes('static')), ...neighbours.split('\n')]
      .map((line) => line.trim())
      .toSorted()
      .join('\n');
  };

  it('survives a restart of the shim, and changes only what differs', async () => {
    const host = at(0);
    const [index, before] = [
      await host.exec('ip', '-o', 'link', 'show', device(host, PLAIN)),
      await entries(host, PLAIN),
    ];
    await host.send({ op: 'restart' });
    await host.send({ op: 'watch' });
    assert.equal(await host.exec('ip', '-o', 'link', 'show', device(host, PLAIN)), index);
    assert.equal(await entries(host, PLAIN), before);
    await host.network('ensureNetwork', specOf(PLAIN, 0));
    await host.network('setPeers', `default/net${PLAIN}`, peersOf(PLAIN, 0));
    assert.equal(await host.exec('ip', '-o', 'link', 'show', device(host, PLAIN)), index, 'told again, made once');
    assert.equal(await entries(host, PLAIN), before);
    const others = peersOf(PLAIN, 0);
    const rest = { ...others, endpoints: others.endpoints.filter(({ ip }) => ip !== client.ip) };
    await host.network('setPeers', `default/net${PLAIN}`, rest);
    assert.equal(
      await entries(host, PLAIN),
      before
        .split('\n')
        .filter(
          (line) =>
            !line.startsWith(`${client.ip} `) && !line.startsWith(client.network.interfaces[0]?.macAddress ?? '-'),
        )
        .join('\n'),
      'the entries of one endpoint leave',
    );
    await tellPeers();
  });

  it('goes over IPv6 between hosts just as well', async () => {
    const id = 'default/net204';
    const specs = [0, 1].map((index) => {
      const spec = makeOverlay(204, at(index), index);
      return { ...spec, mtu: 1430, overlay: { ...spec.overlay, underlayIp: at(index).address6 } };
    });
    assert.equal(await at(0).send({ op: 'mtu', underlayIp: at(0).address6, wanted: 0 }), 1430);
    for (const index of [0, 1]) await at(index).network('ensureNetwork', specs[index]);
    const [six, seven] = [await at(0).addSandbox('six', [id]), await at(1).addSandbox('seven', [id])];
    for (const [index, other] of [
      [0, seven],
      [1, six],
    ] as const) {
      const host = at(1 - index).address6;
      const mac = other.network.interfaces[0]?.macAddress ?? '';
      await at(index).network('setPeers', id, { hosts: [host], endpoints: [{ ip: other.ip, mac, host }] });
    }
    await seven.peer.serve('TCP', 80, 'seven');
    assert.equal(await six.peer.ask('TCP', seven.ip, 80), `seven ${six.ip}`);
    await at(0).network('setPeers', id, { hosts: [], endpoints: [] });
    const before = await received(at(0), 204);
    await silence(seven.peer.ask('TCP', six.ip, 80, 500), 'a host that is no peer any more');
    assert.equal(await received(at(0), 204), before);
  });

  it('carries IPv6 between containers of different hosts, and mends its entries', async () => {
    const id = 'default/net205';
    const ipv6 = makeIpv6(205);
    for (const index of [0, 1]) await at(index).network('ensureNetwork', makeOverlay(205, at(index), index, { ipv6 }));
    const guests = [await at(0).addSandbox('dual-a', [id]), await at(1).addSandbox('dual-b', [id])] as const;
    const [a, b] = guests;
    assert.deepEqual([a.ipv6, b.ipv6], ['fd00:205::acd:3', 'fd00:205::acd:100']);
    const tell = async (): Promise<void> => {
      for (const [index, other] of [b, a].entries()) {
        const { address: host } = at(1 - index);
        const mac = other.network.interfaces[0]?.macAddress ?? '';
        const node = { ip: ipv6Of(ipv6.pool, `10.205.${1 - index}.2`), mac: nodeMacOf(205, 1 - index), host };
        const endpoints = [{ ip: other.ip, mac, host }, { ip: other.ipv6, mac, host }, node];
        await at(index).network('setPeers', id, { hosts: [host], endpoints });
      }
    };
    await tell();
    await b.peer.serveIpv6('TCP', 80, 'b');
    assert.equal(await a.peer.ask('TCP', b.ipv6, 80), `b ${a.ipv6}`);
    const asked = await at(0).exec(process.execPath, '-e', ASK, b.ipv6);
    assert.equal(asked, 'b fd00:205::acd:2', 'the host by its own address, which no other has');
    const bridge = kernelNames.bridge(at(0).instance, id);
    await at(0).exec('ip', '-6', 'neigh', 'del', b.ipv6, 'dev', bridge);
    const entry = (): Promise<string> => at(0).exec('ip', '-6', 'neigh', 'show', 'dev', bridge, 'nud', 'permanent');
    await waitFor(async () => (await entry()).includes(b.ipv6), { what: 'the entry that somebody removed' });
    const hex = '00'.repeat(1450 - 48);
    await b.peer.serveIpv6('UDP', 53, 'b');
    const answer = await a.peer.send({ op: 'datagram', host: b.ipv6, port: 53, hex, timeoutMs: 5000 });
    assert.equal(Buffer.from(answer, 'hex').toString(), `b ${a.ipv6}`, 'a full-size packet');
    await at(0).network('setPeers', id, { hosts: [], endpoints: [] });
    assert.equal((await entry()).trim(), '');
    await silence(a.peer.ask('TCP', b.ipv6, 80, 500), 'an endpoint that nobody knows any more');
    for (const [index, { id: guest }] of guests.entries()) await at(index).network('detachSandbox', guest);
    for (const index of [0, 1]) await at(index).network('removeNetwork', id);
  });

  it('says who has the VNI, and gives out no address that another node has', async () => {
    const host = at(2);
    await host.exec(
      'ip',
      'link',
      'add',
      'theirs',
      'type',
      'vxlan',
      'id',
      '4242',
      'dstport',
      '4789',
      'local',
      host.address,
    );
    const spec = makeOverlay(210, host, 2);
    const clash = { ...spec, overlay: { ...spec.overlay, vni: 4242 } };
    await assert.rejects(host.network('ensureNetwork', clash), /VNI 4242 on UDP port 4789 is in use by theirs/);
    await host.network('ensureNetwork', spec);
    await host.network('removeNetwork', spec.id);
    const netns = String(await host.send({ op: 'namespace', name: 'claim' }));
    const claim = (ipv4Address: string): Promise<unknown> =>
      host.network(
        'attachSandbox',
        'claim',
        netns,
        [{ network: `default/net${PLAIN}`, ipv4Address, names: [] }],
        [],
        'claim',
      );
    await assert.rejects(claim(web.ip), /10.201.0.3 is in use by the node at 192.0.2.1/);
    await assert.rejects(claim('10.201.2.2'), /10.201.2.2 is in use by this node itself/);
  });

  it('removal and purge leave nothing', async () => {
    const host = at(2);
    const links = async (): Promise<string> =>
      (await host.exec('ip', '-o', 'link'))
        .split('\n')
        .filter((line) => line.includes(kernelNames.linkPrefix(host.instance)))
        .join('\n');
    await host.network('detachNetwork', 'liar', `default/net${PLAIN}`);
    await host.network('removeNetwork', `default/net${PLAIN}`);
    assert.doesNotMatch(await links(), new RegExp(device(host, PLAIN)));
    const table = await host.exec('nft', 'list', 'table', 'inet', kernelNames.nftTable(host.instance));
    assert.doesNotMatch(table, new RegExp(((1000 + PLAIN) * 256).toString(16)), 'no rule about its VNI');
    await host.send({ op: 'purge' });
    assert.equal(await links(), '');
  });
});
