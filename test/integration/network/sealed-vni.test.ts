import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { describeInstance, kernelNames } from '../../../lib/instance.ts';
import { openNfnetlink } from '../../../runtime-shim/host/nfnetlink.ts';
import { umountTree } from '../../../runtime-shim/host/mount.ts';
import { createSandboxNamespaces } from '../../../runtime-shim/host/namespaces.ts';
import { emptyState } from '../../../runtime-shim/network/state.ts';
import { createTables } from '../../../runtime-shim/network/tables.ts';
import { becomePrivateHost, makeNetwork, startNetwork, type NetworkHarness } from '../../support/node-network.ts';
import { openRawSocket, type RawSocket } from '../../support/raw-frames.ts';
import { waitFor } from '../../support/wait.ts';
import { hasWireguard } from '../../support/wireguard.ts';

const isRoot = process.getuid?.() === 0;
const PORT = 4789;
const [SEALED, OPEN] = [5221, 5222];
const MAC = '02:00:00:00:00:77';

const overlay = (vni: number, nodeIp: string) => ({
  ...{ vni, port: PORT, underlayIp: '192.0.2.1', nodeIp, nodeMac: '0a:00:00:00:00:02' },
});

/** What the kernel does with packets of an encrypted overlay that are in the clear: also where it has no WireGuard. */
describe('VXLAN packets in the clear', { skip: isRoot ? false : 'needs root' }, () => {
  const root = mkdtempSync(join(tmpdir(), 'windlass-sealed-'));
  const instance = describeInstance(join(root, 'home'), join(root, 'run'));
  const other = join(root, 'netns', 'other');
  const state = emptyState();
  const ip = (...args: readonly string[]): string => execFileSync('ip', args, { encoding: 'utf8' });
  const there = (...args: readonly string[]): string =>
    execFileSync('nsenter', [`--net=${other}`, ...args], { encoding: 'utf8' });
  let wire: RawSocket;
  let filter: ReturnType<typeof openNfnetlink>;

  const received = (vni: number): number => {
    const [link] = JSON.parse(ip('-s', '-j', 'link', 'show', 'dev', `vx${vni}`)) as [
      { stats64: { rx: { packets: number } } },
    ];
    return link.stats64.rx.packets;
  };
  /** A whole frame of the VNI as the other host sends it, to the device here. */
  const sendHere = (vni: number): void => {
    const hex = `08000000${vni.toString(16).padStart(6, '0')}00${MAC.replaceAll(':', '')}020000000088080045${'00'.repeat(30)}`;
    const script = `const s = require('dgram').createSocket('udp4');
      s.send(Buffer.from(process.argv[1], 'hex'), ${PORT}, '192.0.2.1', () => s.close())`;
    there(process.execPath, '-e', script, hex);
  };
  /** VNIs that arrive at the other host when this one sends one frame by each device. */
  const sent = async (): Promise<number[]> => {
    wire.receive();
    for (const vni of [SEALED, OPEN]) {
      using device = openRawSocket('/proc/self/ns/net', `vx${vni}`);
      device.send(Buffer.from(`${MAC.replaceAll(':', '')}020000000088080045${'00'.repeat(40)}`, 'hex'));
    }
    const seen: number[] = [];
    // In the order in which they were sent: with the second, the first has had its time.
    await waitFor(
      () => {
        for (const frame of wire.receive())
          if (frame.readUInt16BE(12) === 0x0800 && frame[23] === 17) seen.push(frame.readUIntBE(46, 3));
        return seen.includes(OPEN);
      },
      { what: 'a frame that is not encrypted' },
    );
    return seen.toSorted((a, b) => a - b);
  };

  before(() => {
    becomePrivateHost();
    createSandboxNamespaces({ net: other, hostname: 'other' });
    ip('link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'up1');
    ip('link', 'set', 'up1', 'netns', other);
    ip('addr', 'add', '192.0.2.1/24', 'dev', 'up0');
    ip('link', 'set', 'up0', 'up');
    there('ip', 'addr', 'add', '192.0.2.2/24', 'dev', 'up1');
    there('ip', 'link', 'set', 'up1', 'up');
    for (const vni of [SEALED, OPEN]) {
      const name = `vx${vni}`;
      const tunnel = ['id', String(vni), 'dstport', String(PORT), 'local', '192.0.2.1', 'nolearning'];
      ip('link', 'add', name, 'address', MAC, 'type', 'vxlan', ...tunnel);
      ip('link', 'set', name, 'up');
      execFileSync('bridge', ['fdb', 'add', MAC, 'dev', name, 'dst', '192.0.2.2']);
    }
    wire = openRawSocket(other, 'up1');
    filter = openNfnetlink();
    const sealed = { ...overlay(SEALED, '10.77.0.2'), encryption: { ip: 'fd11::1', port: 51_820 } };
    state.networks.set('default/net77', makeNetwork(77, { overlay: sealed }));
    state.networks.set('default/net78', makeNetwork(78, { overlay: overlay(OPEN, '10.78.0.2') }));
    state.peers.set('default/net77', {
      ...{ hosts: ['192.0.2.2'], endpoints: [] },
      tunnels: [{ host: '192.0.2.2', ip: 'fd11::2', publicKey: Buffer.alloc(32, 2).toString('base64') }],
    });
    state.peers.set('default/net78', { hosts: ['192.0.2.2'], endpoints: [] });
  });
  after(() => {
    wire?.[Symbol.dispose]();
    filter?.[Symbol.dispose]();
    umountTree(root);
    rmSync(root, { recursive: true, force: true });
  });

  it('pass both ways where nothing is said of their network', async () => {
    for (const vni of [SEALED, OPEN]) {
      const count = received(vni);
      sendHere(vni);
      await waitFor(() => received(vni) === count + 1, { what: `a packet of VNI ${vni}` });
    }
    assert.deepEqual(await sent(), [SEALED, OPEN]);
  });

  it('are neither taken in nor sent once it is encrypted, while those of another network pass', async () => {
    const tables = createTables(instance, state, filter);
    await tables.rebuild();
    const [sealed, open] = [received(SEALED), received(OPEN)];
    sendHere(SEALED);
    sendHere(OPEN);
    await waitFor(() => received(OPEN) === open + 1, { what: 'a packet of the other network' });
    assert.equal(received(SEALED), sealed);
    assert.deepEqual(await sent(), [OPEN]);
    await tables.destroy();
    assert.deepEqual(await sent(), [SEALED, OPEN], 'it was the table that kept them');
  });
});

describe('a host without WireGuard', { skip: hasWireguard() }, () => {
  let harness: NetworkHarness;
  before(async () => {
    becomePrivateHost();
    harness = await startNetwork();
  });
  after(() => harness?.[Symbol.asyncDispose]());

  it('says what it lacks, and refuses an encrypted network by name before anything of it is made', async () => {
    const { network, instance } = harness;
    assert.deepEqual(network.encryption(), { lacks: 'the kernel has no WireGuard (CONFIG_WIREGUARD)' });
    const spec = makeNetwork(79, {
      ...{ mtu: 1370, subnets: [{ cidr: '10.79.0.0/20', gateway: '10.79.0.1', ranges: ['10.79.0.0/24'] }] },
      overlay: { ...overlay(5223, '10.79.0.2'), encryption: { ip: 'fd11::1', port: 51_820 } },
    });
    await assert.rejects(network.ensureNetwork(spec), {
      reason: 'Unavailable',
      message: 'network default/net79 cannot be encrypted: the kernel has no WireGuard (CONFIG_WIREGUARD)',
    });
    assert.deepEqual(network.listNetworks(), []);
    assert.equal(existsSync(`/sys/class/net/${kernelNames.bridge(instance, spec.id)}`), false);
    assert.equal(existsSync(`/sys/class/net/${kernelNames.vxlan(instance, spec.id)}`), false);
  });
});
