import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { kernelNames } from '../../../lib/instance.ts';
import { withNetns } from '../../../runtime-shim/host/namespaces.ts';
import { linkIndex } from '../../../runtime-shim/host/rtnetlink.ts';
import type { ServicePort } from '../../../runtime-shim/network/node-network.ts';
import {
  becomePrivateHost,
  makeNetwork,
  startNetwork,
  startPeer,
  type NetworkHarness,
  type Peer,
  type Sandbox,
} from '../../support/node-network.ts';
import { arpReply, ipv4Packet, openRawSocket, routerAdvertisement } from '../../support/raw-frames.ts';
import { waitFor } from '../../support/wait.ts';

const isRoot = process.getuid?.() === 0;
const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' });
const nft = (...args: string[]): string => execFileSync('nft', args, { encoding: 'utf8', stdio: 'pipe' });

describe('node network under drift', { skip: isRoot ? false : 'needs root' }, () => {
  let harness: NetworkHarness;
  let host: Peer;
  let web: Sandbox;
  let client: Sandbox;
  let stop: AbortController;
  let running: Promise<void>;

  const start = (): void => {
    stop = new AbortController();
    running = harness.network.run(stop.signal);
  };
  const works = async (): Promise<boolean> => {
    const answers = await Promise.all([
      client.peer.ask('TCP', web.ip, 80, 300),
      host.ask('TCP', '127.0.0.1', 18080, 300),
    ]).catch(() => []);
    return answers.length === 2;
  };
  const tableText = (): string => nft('list', 'table', 'inet', kernelNames.nftTable(harness.instance));

  before(async () => {
    becomePrivateHost();
    harness = await startNetwork();
    host = await startPeer();
    await harness.network.ensureNetwork(makeNetwork(201));
    const port = { protocol: 'TCP', containerPort: 80, hostPort: 18080, hostIp: '' } as const;
    web = await harness.addSandbox('web', ['default/net201'], [port]);
    client = await harness.addSandbox('client', ['default/net201']);
    await web.peer.serve('TCP', 80, 'web');
    start();
    assert.ok(await works());
  });

  after(async () => {
    stop.abort();
    await running;
    await host.stop();
    await harness[Symbol.asyncDispose]();
  });

  it('starts with a network that cannot be made, and makes the others', async () => {
    await using other = await startNetwork();
    const { instance } = other;
    const good = makeNetwork(203);
    await other.network.ensureNetwork(good);
    const bad = makeNetwork(204, { mtu: 7 });
    await assert.rejects(other.network.ensureNetwork(bad));
    // Its record was kept, as after a crash between record and effect.
    ip('link', 'del', kernelNames.bridge(instance, good.id));
    await other.restart();
    assert.ok(linkIndex(kernelNames.bridge(instance, good.id)) > 0);
    assert.deepEqual(
      other.network
        .listNetworks()
        .map(({ id }) => id)
        .toSorted(),
      [good.id, bad.id],
    );
  });

  it('gives a bridge that exists a changed MTU', async () => {
    const name = kernelNames.bridge(harness.instance, 'default/net205');
    await harness.network.ensureNetwork(makeNetwork(205));
    await harness.network.ensureNetwork(makeNetwork(205, { mtu: 1400 }));
    assert.match(ip('link', 'show', name), /UP> mtu 1400 /);
    await harness.network.removeNetwork('default/net205');
  });

  const damages: readonly (readonly [string, () => void])[] = [
    ['the bridge is deleted', () => ip('link', 'del', kernelNames.bridge(harness.instance, 'default/net201'))],
    ['the bridge is set down', () => ip('link', 'set', kernelNames.bridge(harness.instance, 'default/net201'), 'down')],
    ['a veth is deleted', () => ip('link', 'del', kernelNames.veth(harness.instance, 'web/default/net201'))],
    [
      'a veth leaves its bridge',
      () => ip('link', 'set', kernelNames.veth(harness.instance, 'web/default/net201'), 'nomaster'),
    ],
    [
      'the gateway address is removed',
      () => ip('addr', 'flush', 'dev', kernelNames.bridge(harness.instance, 'default/net201')),
    ],
    ['the table is flushed', () => nft('flush', 'table', 'inet', kernelNames.nftTable(harness.instance))],
    ['the table is deleted', () => nft('delete', 'table', 'inet', kernelNames.nftTable(harness.instance))],
    ['the bridge table is deleted', () => nft('delete', 'table', 'bridge', kernelNames.nftTable(harness.instance))],
    ['every table is flushed', () => nft('flush', 'ruleset')],
    ['a map is emptied', () => nft('flush', 'map', 'inet', kernelNames.nftTable(harness.instance), 'ports')],
  ];
  for (const [name, damage] of damages) {
    it(`${/table|map/.test(name) ? 'published ports: ' : ''}comes back when ${name}`, async () => {
      const whole = tableText();
      damage();
      const isWhole = (): boolean => {
        try {
          return tableText() === whole && nft('list', 'table', 'bridge', kernelNames.nftTable(harness.instance)) !== '';
        } catch {
          return false;
        }
      };
      await waitFor(async () => isWhole() && (await works()), { timeoutMs: 5000, what: 'the network' });
      assert.equal(withNetns(web.netns, () => linkIndex('eth0')) > 0, true);
    });
  }

  it('recover() keeps connections, addresses and ports after the shim was killed, and repairs what went meanwhile', async () => {
    stop.abort();
    await running;
    const before = harness.network.sandboxStatus('web');
    ip('link', 'del', kernelNames.veth(harness.instance, 'client/default/net201'));
    nft('flush', 'table', 'inet', kernelNames.nftTable(harness.instance));
    await harness.restart();
    start();
    assert.deepEqual(harness.network.sandboxStatus('web'), before);
    assert.deepEqual(harness.network.listNetworks(), [makeNetwork(201)]);
    assert.ok(await works());
    const next = await harness.addSandbox('next', ['default/net201']);
    assert.notEqual(next.ip, web.ip);
    assert.notEqual(next.ip, client.ip);
  });

  it('setServices() balances over backends, changes them in place and names who has a published port', async () => {
    const second = await harness.addSandbox('second', ['default/net201']);
    await second.peer.serve('TCP', 80, 'second');
    const port = (backends: readonly Sandbox[], overrides: Partial<ServicePort> = {}): ServicePort => ({
      ...{ protocol: 'TCP', virtualIp: '10.201.0.240', port: 80, publishedPort: 19090, sessionAffinity: false },
      clientAddress: 'Preserve',
      backends: backends.map(({ ip }) => ({ id: `${ip}:80`, ip, port: 80, isRemote: false })),
      ...overrides,
    });
    const ask = async (count: number, from: Peer, address: string, target: number): Promise<Set<string>> => {
      const seen = new Set<string>();
      for (let index = 0; index < count; index += 1)
        seen.add((await from.ask('TCP', address, target)).split(' ')[0] ?? '');
      return seen;
    };
    assert.deepEqual(await harness.network.setServices([{ id: 'default/s', ports: [port([web, second])] }]), []);
    assert.deepEqual(await ask(30, client.peer, '10.201.0.240', 80), new Set(['web', 'second']));
    assert.deepEqual(await ask(30, host, '127.0.0.1', 19090), new Set(['web', 'second']));
    assert.ok((await web.peer.ask('TCP', '10.201.0.240', 80)).length > 0, 'a backend reaches its own service');

    await harness.network.setServices([{ id: 'default/s', ports: [port([web, second], { sessionAffinity: true })] }]);
    assert.equal((await ask(10, client.peer, '10.201.0.240', 80)).size, 1);
    await harness.network.setServices([{ id: 'default/s', ports: [port([second])] }]);
    assert.deepEqual(await ask(5, client.peer, '10.201.0.240', 80), new Set(['second']));
    await harness.network.setServices([{ id: 'default/s', ports: [port([])] }]);
    await assert.rejects(client.peer.ask('TCP', '10.201.0.240', 80), /ECONNREFUSED/, 'no backend refuses at once');

    const conflicts = await harness.network.setServices([
      { id: 'default/s', ports: [port([second], { publishedPort: 18080 })] },
      { id: 'default/t', ports: [port([second], { publishedPort: 19091, virtualIp: '' })] },
    ]);
    assert.deepEqual(conflicts, [
      { serviceId: 'default/s', protocol: 'TCP', port: 18080, holder: 'Container default/web' },
    ]);
    assert.deepEqual(await ask(3, host, '127.0.0.1', 19091), new Set(['second']));
    assert.deepEqual(await ask(3, client.peer, '10.201.0.240', 80), new Set(['second']));
    nft('flush', 'ruleset');
    await waitFor(
      () =>
        ask(1, client.peer, '10.201.0.240', 80).then(
          () => true,
          () => false,
        ),
      { timeoutMs: 5000 },
    );
    const late = port([second], { publishedPort: 0, virtualIp: '10.217.0.240' });
    await harness.network.setServices([{ id: 'default/late', ports: [late] }]);
    await harness.network.ensureNetwork(makeNetwork(217));
    const guest = await harness.addSandbox('guest', ['default/net217', 'default/net201']);
    assert.deepEqual(await ask(1, guest.peer, '10.217.0.240', 80), new Set(['second']), 'told before the network came');
    await harness.network.detachSandbox('guest');
    await harness.network.removeNetwork('default/net217');
    await harness.network.setServices([]);
    assert.equal(tableText().includes('svc-'), false);
    await assert.rejects(client.peer.ask('TCP', '10.201.0.240', 80, 400));
  });

  it('attachNetwork(), updatePorts() and detachNetwork() change a running sandbox', async () => {
    await harness.network.ensureNetwork(makeNetwork(202));
    const far = await harness.addSandbox('far', ['default/net202']);
    await assert.rejects(far.peer.ask('TCP', web.ip, 80, 300));
    const added = await harness.network.attachNetwork('far', { network: 'default/net201', names: ['far'] });
    assert.equal(added.name, 'eth1');
    assert.equal(await far.peer.ask('TCP', web.ip, 80), `web ${added.ipv4Address}`);
    await far.peer.serve('TCP', 80, 'far');
    await harness.network.updatePorts('far', [{ protocol: 'TCP', containerPort: 80, hostPort: 18400, hostIp: '' }]);
    assert.match(await host.ask('TCP', '127.0.0.1', 18400), /^far /);
    await harness.network.updatePorts('far', []);
    await assert.rejects(host.ask('TCP', '127.0.0.1', 18400, 300), /ECONNREFUSED/);
    await harness.network.detachNetwork('far', 'default/net201');
    await assert.rejects(far.peer.ask('TCP', web.ip, 80, 300));
    await assert.rejects(harness.network.removeNetwork('default/net202'), { reason: 'Conflict' });
    await harness.network.detachSandbox('far');
    await harness.network.detachSandbox('far');
    await harness.network.removeNetwork('default/net202');
    await harness.network.removeNetwork('default/net202');
  });

  it('a UDP client that keeps its port is led to the new container, and to one that comes late', async () => {
    const port = { protocol: 'UDP', containerPort: 53, hostPort: 18053, hostIp: '' } as const;
    const send = (): Promise<string> =>
      host.send({ op: 'ask', protocol: 'UDP', host: '127.0.0.1', port: 18053, timeoutMs: 300, localPort: 45000 });
    await assert.rejects(send());
    for (const name of ['udp-one', 'udp-two']) {
      const server = await harness.addSandbox(name, ['default/net201'], [port]);
      await server.peer.serve('UDP', 53, name);
      assert.match(await send(), new RegExp(`^${name} `));
      await harness.network.detachSandbox(name);
    }
  });

  it('L2/L3 spoofing: drops what a container sends in the name of another (ARP, address, IPv6 router advertisement)', async () => {
    const thief = await harness.addSandbox('thief', ['default/net201']);
    execFileSync('nsenter', [`--net=${thief.netns}`, 'ip', 'addr', 'add', '10.201.0.99/24', 'dev', 'eth0']);
    await assert.rejects(
      thief.peer.send({
        op: 'ask',
        protocol: 'TCP',
        host: web.ip,
        port: 80,
        timeoutMs: 400,
        localAddress: '10.201.0.99',
      }),
    );
    assert.match(await thief.peer.ask('TCP', web.ip, 80), /^web /, 'its own address works');
    // The gateway's address on a container: neighbours must go on reaching the true gateway.
    execFileSync('nsenter', [`--net=${thief.netns}`, 'ip', 'addr', 'add', '10.201.0.1/32', 'dev', 'eth0']);
    execFileSync('nsenter', [`--net=${client.netns}`, 'ip', 'neigh', 'flush', 'dev', 'eth0']);
    assert.match(await client.peer.ask('TCP', '10.201.0.1', 18080), /^web /);
    assert.equal(
      execFileSync('nsenter', [`--net=${client.netns}`, 'ip', '-6', 'addr', 'show', 'dev', 'eth0'], {
        encoding: 'utf8',
      }),
      '',
    );
  });

  it('L2/L3 spoofing: of frames made by hand, only those in its own name leave a container', async () => {
    const thief = await harness.addSandbox('forger', ['default/net201']);
    const own = thief.network.interfaces[0]?.macAddress ?? '';
    const other = client.network.interfaces[0]?.macAddress ?? '';
    using from = openRawSocket(thief.netns, 'eth0');
    using to = openRawSocket(client.netns, 'eth0');
    const forged = [
      arpReply(own, '10.201.0.1'),
      arpReply(own, web.ip),
      arpReply(own, thief.ip, other),
      arpReply(other, thief.ip),
      ipv4Packet(own, '10.201.0.1', client.ip),
      ipv4Packet(own, '192.0.2.7', client.ip),
      ipv4Packet(other, thief.ip, client.ip),
      routerAdvertisement(own),
    ];
    for (const frame of forged) from.send(frame);
    // Frames keep their order: when these arrive, nothing that was sent before is still on its way.
    const honest = [arpReply(own, thief.ip), ipv4Packet(own, thief.ip, client.ip)];
    for (const frame of honest) from.send(frame);
    const seen: string[] = [];
    const wanted = honest.map((frame) => frame.toString('hex'));
    await waitFor(
      () => {
        seen.push(...to.receive().map((frame) => frame.toString('hex')));
        return wanted.every((frame) => seen.includes(frame));
      },
      { what: 'the honest frames' },
    );
    const sent = seen.filter((frame) => frame.slice(12, 24) === own.replaceAll(':', ''));
    assert.deepEqual([...new Set(sent)].toSorted(), wanted.toSorted());
    assert.deepEqual(
      forged.filter((frame) => seen.includes(frame.toString('hex'))),
      [],
    );
  });

  it('purge() leaves no link and no table', async () => {
    stop.abort();
    await running;
    await harness.network.purge();
    assert.doesNotMatch(ip('link'), /wl[0-9a-f]{4}-/);
    assert.equal(nft('list', 'tables'), '');
  });
});
