import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { errnoOf } from '../../../lib/errors.ts';
import { openGenetlink } from '../../../runtime-shim/host/genetlink.ts';
import { umountTree } from '../../../runtime-shim/host/mount.ts';
import { createSandboxNamespaces, withNetns } from '../../../runtime-shim/host/namespaces.ts';
import { addAddress } from '../../../runtime-shim/host/link-addresses.ts';
import { linkIndex, openRtnetlink, setLinkUp } from '../../../runtime-shim/host/rtnetlink.ts';
import {
  changeWireguard,
  createWireguard,
  findWireguard,
  readWireguard,
  type WireguardPeer,
} from '../../../runtime-shim/host/wireguard.ts';
import { makeTunnelKey } from '../../../runtime-shim/network/tunnel-key.ts';
import { startPeer } from '../../support/node-network.ts';
import { lacksWireguard } from '../../support/wireguard.ts';

const PORT = 51_820;

test(
  'WireGuard devices are made, keyed, read back and talk, by netlink alone',
  { skip: lacksWireguard() },
  async (t) => {
    const root = mkdtempSync(join(tmpdir(), 'windlass-wireguard-'));
    const [a, b] = ['a', 'b'].map((name) => ({
      name,
      netns: join(root, name),
      key: makeTunnelKey(join(root, `${name}.key`)),
    }));
    assert.ok(a && b);
    t.after(() => {
      umountTree(root);
      rmSync(root, { recursive: true, force: true });
    });
    const within = ({ netns }: typeof a, ...argv: string[]): string =>
      execFileSync('nsenter', [`--net=${netns}`, ...argv], { encoding: 'utf8' });
    for (const { name, netns } of [a, b]) createSandboxNamespaces({ net: netns, hostname: name });
    within(a, 'ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', b.netns);
    for (const [index, end] of [a, b].entries()) {
      within(end, 'ip', 'addr', 'add', `192.0.2.${index + 1}/24`, 'dev', 'eth0');
      within(end, 'ip', 'link', 'set', 'eth0', 'up');
    }
    const peerOf = (end: typeof a): WireguardPeer => ({
      publicKey: end.key.publicKey,
      endpoint: { ip: end === a ? '192.0.2.1' : '192.0.2.2', port: PORT },
      allowedIp: end === a ? 'fd11::1' : 'fd11::2',
    });
    const setUp = (end: typeof a, other: typeof a) =>
      withNetns(end.netns, () => {
        using links = openRtnetlink();
        using generic = openGenetlink();
        const family = findWireguard(generic) ?? 0;
        createWireguard(links, 'wg', 1420);
        assert.throws(
          () => createWireguard(links, 'wg', 1420),
          (error) => errnoOf(error) === 'EEXIST',
        );
        const device = { family, index: linkIndex('wg') };
        const { privateKey } = end.key;
        changeWireguard(generic, device, { privateKey, listenPort: PORT, remove: [], set: [peerOf(other)] });
        setLinkUp(links, device.index);
        addAddress(links, device.index, { ip: peerOf(end).allowedIp, prefixLength: 48 });
        return readWireguard(generic, family, device.index);
      });
    for (const [end, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const { endpoint, allowedIp, publicKey } = peerOf(other);
      assert.deepEqual(setUp(end, other), {
        ...{ publicKey: end.key.publicKey, listenPort: PORT },
        peers: new Map([[publicKey, { endpoint: `${endpoint.ip}:${PORT}`, allowedIps: [`${allowedIp}/128`] }]]),
      });
    }
    const [client, server] = [await startPeer(a.netns), await startPeer(b.netns)];
    t.after(() => Promise.all([client.stop(), server.stop()]));
    await server.serveIpv6('TCP', 80, 'b');
    assert.equal(await client.ask('TCP', 'fd11::2', 80, 20_000), 'b fd11::1');

    // Many peers, more than one message of the kernel holds; then none but the first.
    const many = Array.from({ length: 300 }, (_, index) => ({
      ...{ publicKey: makeTunnelKey(join(root, 'many.key')).publicKey, endpoint: { ip: '192.0.2.9', port: PORT } },
      allowedIp: `fd11::1:${(index + 1).toString(16)}`,
    }));
    withNetns(a.netns, () => {
      using generic = openGenetlink();
      const device = { family: findWireguard(generic) ?? 0, index: linkIndex('wg') };
      const peers = () => readWireguard(generic, device.family, device.index).peers;
      changeWireguard(generic, device, { remove: [], set: many });
      const has = peers();
      assert.deepEqual(
        many.filter(({ publicKey, allowedIp }) => has.get(publicKey)?.allowedIps.join() !== `${allowedIp}/128`),
        [],
      );
      assert.equal(has.size, 301);
      changeWireguard(generic, device, { remove: many.map(({ publicKey }) => publicKey), set: [] });
      assert.deepEqual([...peers().keys()], [b.key.publicKey]);
      // An address goes to whom it is given last: so a node keeps its own with a new key.
      const renewed = { ...peerOf(b), publicKey: makeTunnelKey(join(root, 'new.key')).publicKey };
      changeWireguard(generic, device, { remove: [b.key.publicKey], set: [renewed] });
      assert.deepEqual(
        [...peers()].map(([key, { allowedIps }]) => [key, ...allowedIps]),
        [[renewed.publicKey, 'fd11::2/128']],
      );
    });
    await assert.rejects(client.ask('TCP', 'fd11::2', 80, 500), /timeout/, 'the other has not got that key');
  },
);
