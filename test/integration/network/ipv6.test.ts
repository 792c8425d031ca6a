// Dual stack: a bridge network with IPv6, over the kernel of a private host.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { kernelNames } from '../../../lib/instance.ts';
import { linkLocalOf } from '../../../lib/ipv6.ts';
import { readSysctl, writeSysctl } from '../../../runtime-shim/host/sysctl.ts';
import type { PublishedPort, ServicePort } from '../../../runtime-shim/network/node-network.ts';
import {
  becomePrivateHost,
  makeIpv6,
  makeNetwork,
  startNetwork,
  startPeer,
  type NetworkHarness,
  type Peer,
  type Sandbox,
} from '../../support/node-network.ts';
import {
  ipv6Packet,
  neighbourAdvertisement,
  neighbourSolicitation,
  openRawSocket,
  routerAdvertisement,
} from '../../support/raw-frames.ts';
import { waitFor } from '../../support/wait.ts';

const isRoot = process.getuid?.() === 0;
const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' });
const nft = (...args: string[]): string => execFileSync('nft', args, { encoding: 'utf8', stdio: 'pipe' });
const [HOST, OUTSIDE] = ['fd00:2::1', 'fd00:2::2'];

const publish = (hostPort: number, options: Partial<PublishedPort> = {}): PublishedPort => ({
  ...{ protocol: 'TCP', containerPort: 80, hostPort, hostIp: '' },
  ...options,
});

describe('node network with IPv6', { skip: isRoot ? false : 'needs root' }, () => {
  let harness: NetworkHarness;
  let host: Peer;
  let outside: Peer;
  let web: Sandbox;
  let client: Sandbox;
  const bridge = (octet: number): string => kernelNames.bridge(harness.instance, `default/net${octet}`);
  const ensure = (octet: number, options = {}): Promise<unknown> =>
    harness.network.ensureNetwork(makeNetwork(octet, { ipv6: makeIpv6(octet), ...options }));

  before(async () => {
    becomePrivateHost();
    harness = await startNetwork();
    host = await startPeer();
    outside = await harness.addOutsideWorld();
    writeSysctl('net/ipv6/conf/uplink/accept_ra', '1');
    await ensure(201);
    await ensure(202);
    await ensure(203, { internal: true });
    await ensure(204, { isolated: true });
    await harness.network.ensureNetwork(makeNetwork(205));
    web = await harness.addSandbox('web', ['default/net201'], [publish(18080), publish(18053, { protocol: 'UDP' })]);
    client = await harness.addSandbox('client', ['default/net201']);
    await web.peer.serveIpv6('TCP', 80, 'web');
    await web.peer.serveIpv6('UDP', 80, 'web');
  });

  after(async () => {
    await host.stop();
    await harness[Symbol.asyncDispose]();
  });

  it('derives addresses from those of IPv4 and gives them without delay, with a link-local one beside', () => {
    assert.equal(web.ip, '10.201.0.2');
    assert.equal(web.ipv6, 'fd00:201::ac9:2');
    const [first] = web.network.interfaces;
    assert.deepEqual(first?.ipv6, { address: web.ipv6, prefixLength: 64, gateway: 'fd00:201::1' });
    const inside = execFileSync('nsenter', [`--net=${web.netns}`, 'ip', '-6', '-o', 'addr', 'show', 'dev', 'eth0'], {
      encoding: 'utf8',
    });
    assert.doesNotMatch(inside, /tentative/);
    assert.deepEqual(
      [...inside.matchAll(/inet6 (\S+)/g)].map(([, address = '']) => address).toSorted(),
      [`${linkLocalOf(first?.macAddress ?? '')}/64`, 'fd00:201::ac9:2/64'].toSorted(),
    );
  });

  it('lets the host forward, and its links go on listening to routers', () => {
    assert.equal(readSysctl('net/ipv6/conf/all/forwarding'), '1');
    assert.equal(readSysctl('net/ipv6/conf/uplink/accept_ra'), '2');
    assert.equal(readSysctl(`net/ipv6/conf/${bridge(201)}/accept_ra`), '0');
  });

  for (const bridgeNetfilter of ['1', '0']) {
    it(`connects containers, host and outside with bridge-nf-call-ip6tables=${bridgeNetfilter}`, async () => {
      writeSysctl('net/bridge/bridge-nf-call-ip6tables', bridgeNetfilter, { optional: true });
      const other = await harness.addSandbox(`other${bridgeNetfilter}`, ['default/net202']);
      const outsidePort = 8200 + Number(bridgeNetfilter);
      await outside.serveIpv6('TCP', outsidePort, 'outside');
      assert.equal(await client.peer.ask('TCP', web.ipv6, 80), `web ${client.ipv6}`, 'container to container');
      assert.equal(await host.ask('TCP', web.ipv6, 80), 'web fd00:201::1', 'host to container');
      assert.equal(await outside.ask('TCP', HOST, 18080), `web ${OUTSIDE}`, 'outside keeps its address');
      assert.equal(await outside.ask('UDP', HOST, 18053), `web ${OUTSIDE}`, 'UDP from outside');
      assert.equal(await host.ask('TCP', HOST, 18080), `web ${HOST}`, 'own address of the host');
      assert.equal(await client.peer.ask('TCP', HOST, 18080), 'web fd00:201::1', 'same network, published port');
      assert.equal(await web.peer.ask('TCP', HOST, 18080), 'web fd00:201::1', 'hairpin to itself');
      assert.equal(await other.peer.ask('TCP', HOST, 18080), `web ${other.ipv6}`, 'another network, published port');
      assert.equal(await client.peer.ask('TCP', OUTSIDE, outsidePort), `outside ${HOST}`, 'outbound is masqueraded');
      await assert.rejects(other.peer.ask('TCP', web.ipv6, 80, 400), /timeout/, 'networks are apart');
      await assert.rejects(outside.ask('TCP', web.ipv6, 80, 400), /timeout/, 'no way in but published ports');
      await assert.rejects(host.ask('TCP', '::1', 18080, 1000), /ECONNREFUSED/, 'refused at once by loopback');
    });
  }

  it('a network without it has none, beside one that has', async () => {
    const plain = await harness.addSandbox('plain', ['default/net205'], [publish(18081)]);
    await plain.peer.serve('TCP', 80, 'plain');
    assert.equal(plain.ipv6, '');
    assert.equal(await outside.ask('TCP', '192.0.2.1', 18081), 'plain 192.0.2.2');
    await assert.rejects(outside.ask('TCP', HOST, 18081, 1000), /ECONNREFUSED/);
    await assert.rejects(plain.peer.ask('TCP', web.ipv6, 80, 400), /ENETUNREACH/);
  });

  it('internal networks have no way out or in', async () => {
    const a = await harness.addSandbox('internal-a', ['default/net203'], [publish(18090)]);
    const b = await harness.addSandbox('internal-b', ['default/net203']);
    await a.peer.serveIpv6('TCP', 80, 'a');
    await outside.serveIpv6('TCP', 8100, 'outside');
    assert.equal(await b.peer.ask('TCP', a.ipv6, 80), `a ${b.ipv6}`);
    assert.equal(await host.ask('TCP', a.ipv6, 80), 'a fd00:203::1', 'the host looks after its health');
    await assert.rejects(b.peer.ask('TCP', OUTSIDE, 8100, 400));
    await assert.rejects(outside.ask('TCP', HOST, 18090, 400));
    execFileSync('nsenter', [`--net=${b.netns}`, 'ip', '-6', 'route', 'add', 'default', 'via', 'fd00:203::1']);
    await assert.rejects(b.peer.ask('TCP', OUTSIDE, 8100, 400), /timeout/, 'not by a route of its own either');
    await assert.rejects(b.peer.ask('TCP', HOST, 18080, 400), /timeout/);
  });

  it('isolated networks reach the outside but not each other', async () => {
    const a = await harness.addSandbox('isolated-a', ['default/net204']);
    const b = await harness.addSandbox('isolated-b', ['default/net204']);
    await a.peer.serveIpv6('TCP', 80, 'a');
    await outside.serveIpv6('TCP', 8101, 'outside');
    await assert.rejects(b.peer.ask('TCP', a.ipv6, 80, 400));
    assert.equal(await b.peer.ask('TCP', OUTSIDE, 8101), `outside ${HOST}`);
  });

  it('published ports: one on an address is reachable by that address alone, `::` by those of IPv6', async () => {
    const ports = [
      publish(18200, { hostIp: HOST }),
      publish(18201, { hostIp: '::' }),
      publish(18202, { hostIp: '0.0.0.0' }),
    ];
    const local = await harness.addSandbox('local', ['default/net201'], ports);
    await local.peer.serveIpv6('TCP', 80, 'local');
    assert.equal(await outside.ask('TCP', HOST, 18200), `local ${OUTSIDE}`);
    assert.equal(await outside.ask('TCP', HOST, 18201), `local ${OUTSIDE}`);
    assert.equal(await outside.ask('TCP', '192.0.2.1', 18202), 'local ::ffff:192.0.2.2');
    for (const [address, port] of [
      ['192.0.2.1', 18200],
      ['fd00:201::1', 18200],
      ['192.0.2.1', 18201],
      [HOST, 18202],
    ] as const)
      await assert.rejects(host.ask('TCP', address, port, 400), /ECONNREFUSED/, `${address} ${port}`);
    await assert.rejects(harness.addSandbox('second', ['default/net201'], [publish(18201, { hostIp: HOST })]), {
      message: `port [${HOST}]:18201/TCP is taken by Container default/local`,
    });
    await host.serveIpv6('TCP', 18203, 'process');
    await assert.rejects(
      harness.addSandbox('third', ['default/net201'], [publish(18203)]),
      /port 18203\/TCP is taken by process/,
    );
    await harness.addSandbox('fourth', ['default/net205'], [publish(18204)]);
    await harness.network.attachNetwork('fourth', { network: 'default/net202', names: [] });
    await assert.rejects(host.serveIpv6('TCP', 18204, 'x'), /EADDRINUSE/, 'taken of IPv6 with its first address there');
  });

  it('a UDP client that keeps its port is led to the new container', async () => {
    const send = (): Promise<string> =>
      outside.send({ op: 'ask', protocol: 'UDP', host: HOST, port: 18054, timeoutMs: 500, localPort: 45000 });
    await assert.rejects(send());
    for (const name of ['udp-one', 'udp-two']) {
      const server = await harness.addSandbox(name, ['default/net201'], [publish(18054, { protocol: 'UDP' })]);
      await server.peer.serveIpv6('UDP', 80, name);
      assert.equal(await send(), `${name} ${OUTSIDE}`);
      await harness.network.detachSandbox(name);
    }
  });

  it('gives the address that is asked for, and says what it cannot give', async () => {
    const attach = (ipv6Address: string, network = 'default/net201'): Promise<unknown> =>
      harness.network.attachSandbox(
        'static',
        harness.namespacePath('static'),
        [{ network, ipv6Address, names: [] }],
        [],
        'static',
      );
    harness.addNamespace('static');
    await assert.rejects(attach('fd00:201::1'), { reason: 'Invalid', message: /cannot be given/ });
    await assert.rejects(attach('fd00:999::5'), { reason: 'Invalid', message: /cannot be given/ });
    await assert.rejects(attach('fd00:201::ac9:99'), {
      reason: 'Invalid',
      message: /kept for the container that has 10.201.0.153/,
    });
    await assert.rejects(attach('fd00:205::5', 'default/net205'), {
      reason: 'Invalid',
      message: /has no IPv6 addresses/,
    });
    const fixed = await harness.addSandbox('fixed', [
      { network: 'default/net201', ipv6Address: 'fd00:201:0:0::AB', names: ['fixed'] },
    ]);
    assert.equal(fixed.ipv6, 'fd00:201::ab');
    await assert.rejects(attach('fd00:201::ab'), {
      reason: 'Conflict',
      message: 'address fd00:201::ab is in use by Container default/fixed',
    });
    assert.equal(await fixed.peer.ask('TCP', web.ipv6, 80), 'web fd00:201::ab');
  });

  it('answers AAAA and PTR beside A, by IPv4', async () => {
    const resolve = (name: string, type: 'A' | 'AAAA' | 'PTR'): Promise<string> =>
      client.peer.resolve('10.201.0.1', name, type);
    assert.equal(await resolve('web', 'A'), web.ip);
    assert.equal(await resolve('web.default', 'AAAA'), web.ipv6);
    assert.equal(
      await resolve('2.0.0.0.9.c.a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.2.0.0.0.d.f.ip6.arpa', 'PTR'),
      'web.default',
    );
    await assert.rejects(
      resolve('3.f.0.0.9.c.a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.2.0.0.0.d.f.ip6.arpa', 'PTR'),
      /ENOTFOUND/,
    );
    harness.network.setNames(
      new Map([
        [
          'default/net201',
          {
            names: new Map([
              ['svc', ['10.201.0.9', 'fd00:201::9']],
              ['vip', ['10.201.0.8']],
            ]),
            elsewhere: new Map(),
          },
        ],
      ]),
    );
    assert.equal(await resolve('svc', 'AAAA'), 'fd00:201::9');
    await assert.rejects(resolve('vip', 'AAAA'), /ENODATA/);
    harness.network.setNames(new Map());
  });

  it('L2/L3 spoofing: of what is made by hand, only what is in its own name leaves a container', async () => {
    const thief = await harness.addSandbox('forger', ['default/net201']);
    const own = thief.network.interfaces[0]?.macAddress ?? '';
    const other = client.network.interfaces[0]?.macAddress ?? '';
    using from = openRawSocket(thief.netns, 'eth0');
    using to = openRawSocket(client.netns, 'eth0');
    const forged = [
      neighbourAdvertisement(own, thief.ipv6, 'fd00:201::1'),
      neighbourAdvertisement(own, thief.ipv6, web.ipv6),
      neighbourAdvertisement(own, web.ipv6, thief.ipv6),
      neighbourAdvertisement(own, thief.ipv6, thief.ipv6, other),
      neighbourAdvertisement(other, thief.ipv6, thief.ipv6),
      neighbourSolicitation(own, web.ipv6, client.ipv6),
      neighbourSolicitation(own, thief.ipv6, client.ipv6, other),
      neighbourSolicitation(own, '::', client.ipv6),
      ipv6Packet(own, 'fd00:201::1', client.ipv6),
      ipv6Packet(own, 'fd00:2::7', client.ipv6),
      ipv6Packet(other, thief.ipv6, client.ipv6),
      routerAdvertisement(own, linkLocalOf(own)),
      routerAdvertisement(own),
    ];
    for (const frame of forged) from.send(frame);
    // Frames keep their order: when these arrive, nothing that was sent before is still on its way.
    const honest = [
      neighbourAdvertisement(own, thief.ipv6, thief.ipv6),
      neighbourSolicitation(own, linkLocalOf(own), client.ipv6),
      ipv6Packet(own, thief.ipv6, client.ipv6),
    ];
    for (const frame of honest) from.send(frame);
    const seen: string[] = [];
    await waitFor(
      () => {
        seen.push(...to.receive().map((frame) => frame.toString('hex')));
        return honest.every((frame) => seen.includes(frame.toString('hex')));
      },
      { what: 'the honest frames' },
    );
    assert.deepEqual(
      forged.flatMap((frame, index) => (seen.includes(frame.toString('hex')) ? [index] : [])),
      [],
    );
  });

  it('publishes a Service on IPv6 for those of its backends that are here, and refuses where there is none', async () => {
    const port = (overrides: Partial<ServicePort> = {}): ServicePort => ({
      ...{ protocol: 'TCP', virtualIp: '', port: 80, publishedPort: 19090, sessionAffinity: false },
      clientAddress: 'Preserve',
      backends: [
        { id: 'web', ip: web.ip, ipv6: web.ipv6, port: 80, isRemote: false },
        { id: 'far', ip: '10.201.0.250', port: 19090, isRemote: true },
      ],
      ...overrides,
    });
    await harness.network.setServices([{ id: 'default/s', ports: [port()] }]);
    for (let count = 0; count < 5; count += 1) assert.equal(await outside.ask('TCP', HOST, 19090), `web ${OUTSIDE}`);
    assert.equal(await client.peer.ask('TCP', HOST, 19090), 'web fd00:201::1');
    await harness.network.setServices([
      { id: 'default/s', ports: [port({ sessionAffinity: true, clientAddress: 'Masquerade' })] },
    ]);
    assert.equal(await outside.ask('TCP', HOST, 19090), 'web fd00:201::1');
    await harness.network.setServices([{ id: 'default/s', ports: [port({ backends: [] })] }]);
    await assert.rejects(outside.ask('TCP', HOST, 19090, 1000), /ECONNREFUSED/);
    await harness.network.setServices([]);
  });

  it('refuses ranges that the host or another network has, by name', async () => {
    const shifted = (cidr: string, gateway: string) => ({ ipv6: { cidr, gateway, pool: cidr } });
    const subnets = makeNetwork(206).subnets;
    await assert.rejects(ensure(206, { subnets, ...shifted('fd00:2::/48', 'fd00:2::9') }), {
      reason: 'Conflict',
      message: "subnet fd00:2::/48 overlaps the host's route to fd00:2::/64 over uplink",
    });
    await assert.rejects(ensure(206, shifted('fd00:201::/48', 'fd00:201::9')), {
      reason: 'Conflict',
      message: 'subnet fd00:201::/48 of network default/net206 overlaps network default/net201',
    });
    await assert.rejects(ensure(206, { mtu: 1279 }), {
      reason: 'Invalid',
      message: /an MTU of 1279 is too small for IPv6/,
    });
    await assert.rejects(ensure(206, shifted('fd00:206::/112', 'fd00:206::1')), {
      reason: 'Invalid',
      message: /at most 96 bits/,
    });
    await assert.rejects(ensure(206, shifted('fd00:206::/64', 'fd00:206::ace:2')), {
      reason: 'Invalid',
      message: /kept for the container that has 10.206.0.2/,
    });
  });

  it('comes back when somebody takes it away, and after the shim was killed', async (t) => {
    const stop = new AbortController();
    const running = harness.network.run(stop.signal);
    t.after(() => stop.abort());
    const works = async (): Promise<boolean> => {
      const answers = await Promise.all([
        client.peer.ask('TCP', web.ipv6, 80, 300),
        outside.ask('TCP', HOST, 18080, 300),
      ]).catch(() => []);
      return answers.length === 2;
    };
    const table = (family: string): string => nft('list', 'table', family, kernelNames.nftTable(harness.instance));
    const whole = [table('inet'), table('bridge')];
    const isWhole = (): boolean => {
      try {
        const addresses = ip('-6', 'addr', 'show', 'dev', bridge(201));
        const tables = [table('inet'), table('bridge')];
        return (
          tables.every((text, index) => text === whole[index]) &&
          ['fd00:201::1/64', 'fe80::'].every((text) => addresses.includes(text))
        );
      } catch {
        return false;
      }
    };
    for (const [what, damage] of [
      ['addresses', () => ip('-6', 'addr', 'flush', 'dev', bridge(201))],
      ['IPv6 of the bridge', () => writeSysctl(`net/ipv6/conf/${bridge(201)}/disable_ipv6`, '1')],
      ['bridge', () => ip('link', 'del', bridge(201))],
      ['a veth', () => ip('link', 'del', kernelNames.veth(harness.instance, 'web/default/net201'))],
      ['the table', () => nft('flush', 'ruleset')],
    ] as const) {
      damage();
      await waitFor(async () => isWhole() && (await works()), { timeoutMs: 20_000, what: `IPv6 without ${what}` });
    }
    stop.abort();
    await running;
    const before = harness.network.sandboxStatus('web');
    ip('-6', 'addr', 'flush', 'dev', bridge(201));
    nft('flush', 'ruleset');
    await harness.restart();
    assert.deepEqual(harness.network.sandboxStatus('web'), before);
    assert.ok(await works());
    assert.deepEqual([table('inet'), table('bridge')], whole);
  });

  it('attachNetwork() and detachNetwork() bring and take the address', async () => {
    const guest = await harness.addSandbox('guest', ['default/net205']);
    await assert.rejects(guest.peer.ask('TCP', web.ipv6, 80, 300));
    const added = await harness.network.attachNetwork('guest', { network: 'default/net201', names: ['guest'] });
    assert.equal(await guest.peer.ask('TCP', web.ipv6, 80), `web ${added.ipv6?.address}`);
    await harness.network.detachNetwork('guest', 'default/net201');
    await assert.rejects(guest.peer.ask('TCP', web.ipv6, 80, 300));
    await harness.network.detachSandbox('guest');
  });

  it('purge() leaves no link, table or address', async () => {
    await harness.network.purge();
    assert.doesNotMatch(ip('link'), /wl[0-9a-f]{4}-/);
    assert.equal(nft('list', 'tables'), '');
    assert.doesNotMatch(ip('-6', 'route', 'show', 'table', 'all'), /fd00:20/);
  });
});
