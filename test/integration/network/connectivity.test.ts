import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import type { PublishedPort } from '../../../runtime-shim/network/node-network.ts';
import {
  becomePrivateHost,
  makeNetwork,
  startNetwork,
  startPeer,
  type NetworkHarness,
  type Peer,
} from '../../support/node-network.ts';
import { writeSysctl } from '../../../runtime-shim/host/sysctl.ts';

const publish = (hostPort: number, options: Partial<PublishedPort> = {}): PublishedPort => ({
  ...{ protocol: 'TCP', containerPort: 80, hostPort, hostIp: '' },
  ...options,
});

const isRoot = process.getuid?.() === 0;

describe('node network', { skip: isRoot ? false : 'needs root' }, () => {
  let harness: NetworkHarness;
  let host: Peer;
  let outside: Peer;

  before(async () => {
    becomePrivateHost();
    harness = await startNetwork();
    host = await startPeer();
    outside = await harness.addOutsideWorld();
    await harness.network.ensureNetwork(makeNetwork(201));
    await harness.network.ensureNetwork(makeNetwork(202));
    await harness.network.ensureNetwork(makeNetwork(203, { internal: true }));
    await harness.network.ensureNetwork(makeNetwork(204, { isolated: true }));
  });

  after(async () => {
    await host.stop();
    await harness[Symbol.asyncDispose]();
  });

  for (const bridgeNetfilter of ['1', '0']) {
    it(`connects containers, host and outside with bridge-nf-call-iptables=${bridgeNetfilter}`, async () => {
      writeSysctl('net/bridge/bridge-nf-call-iptables', bridgeNetfilter, { optional: true });
      const suffix = bridgeNetfilter;
      const [port, udpPort] = bridgeNetfilter === '1' ? [18080, 18053] : [18081, 18054];
      const web = await harness.addSandbox(
        `web${suffix}`,
        ['default/net201'],
        [publish(port), publish(udpPort, { protocol: 'UDP' })],
      );
      const client = await harness.addSandbox(`client${suffix}`, ['default/net201']);
      const other = await harness.addSandbox(`other${suffix}`, ['default/net202']);
      await web.peer.serve('TCP', 80, 'web');
      await web.peer.serve('UDP', 80, 'web');
      await outside.serve('TCP', port, 'outside');

      assert.equal(await client.peer.ask('TCP', web.ip, 80), `web ${client.ip}`, 'container to container');
      assert.equal(await host.ask('TCP', web.ip, 80), 'web 10.201.0.1', 'host to container');
      assert.equal(await outside.ask('TCP', '192.0.2.1', port), 'web 192.0.2.2', 'outside keeps its address');
      assert.equal(await outside.ask('UDP', '192.0.2.1', udpPort), 'web 192.0.2.2', 'UDP from outside');
      assert.equal(await host.ask('TCP', '127.0.0.1', port), 'web 10.201.0.1', 'loopback');
      assert.equal(await host.ask('UDP', '127.0.0.1', udpPort), 'web 10.201.0.1', 'UDP by loopback');
      assert.equal(await host.ask('TCP', '192.0.2.1', port), 'web 192.0.2.1', 'own address of the host');
      assert.equal(await client.peer.ask('TCP', '192.0.2.1', port), 'web 10.201.0.1', 'same network, published port');
      assert.equal(await web.peer.ask('TCP', '192.0.2.1', port), 'web 10.201.0.1', 'hairpin to itself');
      assert.equal(
        await other.peer.ask('TCP', '192.0.2.1', port),
        `web ${other.ip}`,
        'another network, published port',
      );
      assert.equal(await client.peer.ask('TCP', '192.0.2.2', port), 'outside 192.0.2.1', 'outbound is masqueraded');

      await assert.rejects(other.peer.ask('TCP', web.ip, 80, 400), /timeout/, 'networks are apart');
      await assert.rejects(outside.ask('TCP', web.ip, 80, 400), /timeout/, 'no way in but published ports');
    });
  }

  it('internal networks have no way out or in', async () => {
    const a = await harness.addSandbox('internal-a', ['default/net203'], [publish(18090)]);
    const b = await harness.addSandbox('internal-b', ['default/net203']);
    await a.peer.serve('TCP', 80, 'a');
    await outside.serve('TCP', 8100, 'outside');
    assert.equal(await b.peer.ask('TCP', a.ip, 80), `a ${b.ip}`);
    await assert.rejects(b.peer.ask('TCP', '192.0.2.2', 8100, 400));
    await assert.rejects(b.peer.ask('TCP', '192.0.2.1', 18080, 400));
    execFileSync('nsenter', [`--net=${b.netns}`, 'ip', 'route', 'add', 'default', 'via', '10.203.0.1']);
    await assert.rejects(b.peer.ask('TCP', '192.0.2.2', 8100, 400), /timeout/, 'not by a route of its own either');
  });

  it('isolated networks reach the outside but not each other', async () => {
    const a = await harness.addSandbox('isolated-a', ['default/net204']);
    const b = await harness.addSandbox('isolated-b', ['default/net204']);
    await a.peer.serve('TCP', 80, 'a');
    await outside.serve('TCP', 8101, 'outside');
    await assert.rejects(b.peer.ask('TCP', a.ip, 80, 400));
    assert.equal(await b.peer.ask('TCP', '192.0.2.2', 8101), 'outside 192.0.2.1');
  });

  it('published ports: one on an address is reachable by that address alone', async () => {
    const web = await harness.addSandbox('local', ['default/net201'], [publish(18200, { hostIp: '127.0.0.1' })]);
    const neighbour = await harness.addSandbox('beside', ['default/net201']);
    await web.peer.serve('TCP', 80, 'web');
    assert.equal(await host.ask('TCP', '127.0.0.1', 18200), 'web 10.201.0.1');
    for (const peer of [host, outside, neighbour.peer]) {
      await assert.rejects(peer.ask('TCP', '192.0.2.1', 18200, 400));
    }
    await assert.rejects(neighbour.peer.ask('TCP', '10.201.0.1', 18200, 400));
  });

  it('route_localnet: what a neighbour sends to 127.0.0.1 arrives nowhere, published or not', async () => {
    const neighbour = await harness.addSandbox('neighbour', ['default/net201']);
    await host.serve('TCP', 18201, 'loopback service');
    for (const [name, netns, peer, gateway] of [
      ['container', neighbour.netns, neighbour.peer, '10.201.0.1'],
      ['outside', harness.namespacePath('outside'), outside, '192.0.2.1'],
    ] as const) {
      execFileSync('nsenter', [`--net=${netns}`, 'sysctl', '-qw', 'net.ipv4.conf.all.route_localnet=1']);
      execFileSync('nsenter', [`--net=${netns}`, 'ip', 'addr', 'del', '127.0.0.1/8', 'dev', 'lo']);
      execFileSync('nsenter', [`--net=${netns}`, 'ip', 'route', 'add', '127.0.0.1/32', 'via', gateway]);
      for (const port of [18200, 18201])
        await assert.rejects(
          peer.ask('TCP', '127.0.0.1', port, 400),
          /timeout|ECONN|EINVAL|ENET|EHOST/,
          `${name} ${port}`,
        );
    }
  });

  it('attachSandbox() names the holder of a port and of an address', async () => {
    const netns = harness.addNamespace('loser');
    const attach = (port: PublishedPort, ipv4Address = ''): Promise<unknown> =>
      harness.network.attachSandbox(
        'loser',
        netns,
        [{ network: 'default/net201', ipv4Address, names: [] }],
        [port],
        'Container default/loser',
      );
    await assert.rejects(attach(publish(18080)), {
      reason: 'AlreadyExists',
      message: 'port 18080/TCP is taken by Container default/web1',
    });
    const holder = await startPeer();
    await holder.serve('TCP', 18300, 'host process');
    await assert.rejects(attach(publish(18300)), (error: Error) =>
      /port 18300\/TCP is taken by process \d+ \(.+\)/.test(error.message),
    );
    await holder.stop();
    await assert.rejects(attach(publish(0), '10.201.0.1'), { reason: 'Invalid' });
    await assert.rejects(attach(publish(0), '10.201.0.2'), { reason: 'Conflict' });
    assert.equal(harness.network.sandboxStatus('loser'), undefined);
    await attach(publish(0));
    const port = harness.network.sandboxStatus('loser')?.ports[0]?.hostPort ?? 0;
    assert.ok(port > 1024, `chose ${port}`);
    await assert.rejects(host.serve('TCP', port, 'x'), /EADDRINUSE/, 'the kernel keeps a published port for us');
  });
});
