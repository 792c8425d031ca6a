import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { kernelNames } from '../../../lib/instance.ts';
import type { NetworkSpec, OverlayPeers } from '../../../runtime-shim/network/node-network.ts';
import { becomePrivateHost, type Sandbox } from '../../support/node-network.ts';
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

  it('lets nothing leave that has no entry, and answers ARP at home', async () => {
    const [first, second] = hosts as [OverlayHost, OverlayHost];
    const transmitted = async (): Promise<number> =>
      Number(await second.exec('cat', `/sys/class/net/${device(second, PLAIN)}/statistics/tx_packets`));
    assert.ok(first && transmitted);
  });
});
