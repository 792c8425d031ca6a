import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { kernelNames, paths } from '../../../lib/instance.ts';
import type { NetworkSpec, OverlayPeers } from '../../../runtime-shim/network/node-network.ts';
import { becomePrivateHost, type Sandbox } from '../../support/node-network.ts';
import {
  makeOverlay,
  nodeMacOf,
  startOverlayHosts,
  type OverlayHost,
  type OverlayHosts,
} from '../../support/overlay-hosts.ts';
import { ipv4Packet, openRawSocket, type RawSocket } from '../../support/raw-frames.ts';
import { waitFor } from '../../support/wait.ts';
import { lacksWireguard } from '../../support/wireguard.ts';

const SECRET = 221;
const OPEN = 222;
const PORT = 51_820;
const VXLAN_PORT = 4789;
const id = (octet: number): string => `default/net${octet}`;

describe('encrypted overlay over three hosts', { skip: lacksWireguard() }, () => {
  let all: OverlayHosts;
  const at = (index: number): OverlayHost => all.hosts[index] as OverlayHost;
  const keys: string[] = [];
  const sandboxes = new Map<string, { sandbox: Sandbox; host: number }>();
  let web: Sandbox;
  let client: Sandbox;
  let wire: RawSocket;

  const specOf = (octet: number, index: number): NetworkSpec => {
    const spec = makeOverlay(octet, at(index), index);
    if (octet !== SECRET || !spec.overlay) return spec;
    return { ...spec, mtu: 1370, overlay: { ...spec.overlay, encryption: { ip: tunnelIp(index), port: PORT } } };
  };
  const tunnelIp = (index: number): string => `fd11:2233:4455::${index + 1}`;
  const peersOf = (octet: number, index: number, known: readonly number[] = [0, 1, 2]): OverlayPeers => {
    const others = known.filter((number) => number !== index);
    const nodes = others.map((number) => ({
      ...{ ip: `10.${octet}.${number}.2`, mac: nodeMacOf(octet, number), host: at(number).address },
    }));
    const containers = [...sandboxes.values()]
      .filter(({ host }) => others.includes(host))
      .flatMap(({ sandbox, host }) =>
        sandbox.network.interfaces
          .filter(({ network }) => network === id(octet))
          .map(({ ipv4Address, macAddress }) => ({ ip: ipv4Address, mac: macAddress, host: at(host).address })),
      );
    return {
      ...{ hosts: others.map((number) => at(number).address), endpoints: [...nodes, ...containers] },
      ...(octet === SECRET && {
        tunnels: others.map((number) => ({
          ...{ host: at(number).address, ip: tunnelIp(number), publicKey: keys[number] ?? '' },
        })),
      }),
    };
  };
  const tellPeers = async (): Promise<void> => {
    for (const index of [0, 1, 2])
      for (const octet of [SECRET, OPEN]) await at(index).network('setPeers', id(octet), peersOf(octet, index));
  };
  const readKey = async (index: number): Promise<void> => {
    const { publicKey } = (await at(index).send({ op: 'encryption' })) as { publicKey: string };
    keys[index] = publicKey;
  };
  const add = async (name: string, host: number, octets: readonly number[]): Promise<Sandbox> => {
    const sandbox = await at(host).addSandbox(name, octets.map(id));
    sandboxes.set(name, { sandbox, host });
    return sandbox;
  };
  /** With time for the keys to be agreed on, which takes a slow machine seconds. */
  const ask = (timeoutMs = 30_000): Promise<string> => client.peer.ask('TCP', web.ip, 80, timeoutMs);
  const silence = (question: Promise<string>, what: string): Promise<void> =>
    assert.rejects(question, /timeout|EHOSTUNREACH/, what);
  const answers = (): Promise<boolean> =>
    ask(500).then(
      () => true,
      () => false,
    );
  /** UDP ports that packets on the wire went to since the last time. */
  const portsSeen = (): Set<number> => new Set(wire.receive().flatMap(udpPort));
  const counters = async (host: OverlayHost, octet: number): Promise<{ rx: number; tx: number }> => {
    const device = kernelNames.vxlan(host.instance, id(octet));
    const json = await host.exec('ip', '-s', '-j', 'link', 'show', 'dev', device);
    const [{ stats64 }] = JSON.parse(json) as [{ stats64: { rx: { packets: number }; tx: { packets: number } } }];
    return { rx: stats64.rx.packets, tx: stats64.tx.packets };
  };

  before(async () => {
    becomePrivateHost();
    all = await startOverlayHosts(3);
    wire = openRawSocket('/proc/self/ns/net', 'port1');
    for (const index of [0, 1, 2]) {
      await readKey(index);
      for (const octet of [SECRET, OPEN]) await at(index).network('ensureNetwork', specOf(octet, index));
      await at(index).send({ op: 'watch' });
    }
    web = await add('web', 0, [SECRET, OPEN]);
    client = await add('client', 1, [SECRET, OPEN]);
    await tellPeers();
    await web.peer.serve('TCP', 80, 'web');
  });
  after(async () => {
    wire?.[Symbol.dispose]();
    await all?.[Symbol.asyncDispose]();
  });

  it('connects containers of different hosts, and nothing that can be read is on the wire', async () => {
    wire.receive();
    assert.equal(await ask(), `web ${client.ip}`);
    const frames = wire.receive();
    assert.deepEqual(new Set(frames.flatMap(udpPort)), new Set([PORT]));
    const said = Buffer.from(`web ${client.ip}`);
    assert.equal(
      frames.some((frame) => frame.includes(said)),
      false,
    );
    const open = web.network.interfaces[1]?.ipv4Address ?? '';
    const fromOpen = client.network.interfaces[1]?.ipv4Address;
    assert.equal(await client.peer.ask('TCP', open, 80, 30_000), `web ${fromOpen}`);
    const inClear = wire.receive();
    assert.equal(inClear.flatMap(udpPort).includes(VXLAN_PORT), true, 'a network that is not encrypted, beside it');
    assert.equal(
      inClear.some((frame) => frame.includes('web 10.')),
      true,
      'which shows that this test could tell',
    );
  });

  it('passes a full-size packet whole', async () => {
    const [first] = all.hosts as [OverlayHost];
    const mtu = (wanted: number, underlayIp = first.address): Promise<unknown> =>
      first.send({ op: 'mtu', underlayIp, wanted, isEncrypted: true });
    assert.deepEqual([await mtu(0), await mtu(0, first.address6)], [1370, 1350]);
    await assert.rejects(mtu(1371), /at most 1370/);
    await web.peer.serve('UDP', 53, 'web');
    const hex = '00'.repeat(1370 - 28);
    wire.receive();
    const answer = await client.peer.send({ op: 'datagram', host: web.ip, port: 53, hex, timeoutMs: 30_000 });
    assert.equal(Buffer.from(answer, 'hex').toString(), `web ${client.ip}`);
    // Ethernet and IP header of the underlay; no frame is larger, and none a fragment.
    const sizes = wire.receive().map((frame) => frame.length);
    assert.ok(Math.max(...sizes) <= 1514, `largest of ${sizes.join()}`);
    assert.equal(Math.max(...sizes), 1514);
  });

  it('takes in no packet of the network in the clear, whoever sends it, nor any other from a tunnel', async () => {
    const source = '0a:00:00:00:c9:02';
    // Whole: kernels since 2024 drop a frame that is too short for what it says it holds.
    const frame = ipv4Packet(source, `10.${SECRET}.1.9`, web.ip).toString('hex');
    const hex = `08000000${(1000 + SECRET).toString(16).padStart(6, '0')}00${frame}`;
    const send = (script: string): Promise<string> => at(1).exec(process.execPath, '-e', script, hex);
    const by = (host: string, port: number, family: string): string =>
      `const s = require('dgram').createSocket('${family}');
       s.send(Buffer.from(process.argv[1], 'hex'), ${port}, '${host}', () => s.close())`;
    // What the device hands on, by the sender that only this test has: neighbours ask each other at any time.
    using received = openRawSocket(at(0).netns, kernelNames.vxlan(at(0).instance, id(SECRET)));
    const hasCome = (): boolean => received.receive().some((bytes) => bytes.toString('hex').includes(frame));
    // By a machine on the wire: a node's own packet filter would not let it send that.
    execFileSync('ip', ['addr', 'add', '192.0.2.99/24', 'dev', 'switch']);
    execFileSync('ip', ['addr', 'add', 'fd00:2::99/64', 'dev', 'switch', 'nodad']);
    execFileSync(process.execPath, ['-e', by(at(0).address, VXLAN_PORT, 'udp4'), hex]);
    execFileSync(process.execPath, ['-e', by(at(0).address6, VXLAN_PORT, 'udp6'), hex]);
    assert.equal(hasCome(), false);
    // The same through the tunnel gets there: the packet is not at fault. What is no VXLAN does not.
    await send(by(tunnelIp(0), VXLAN_PORT, 'udp6'));
    await waitFor(hasCome, { what: 'the packet by tunnel', timeoutMs: 30_000 });
    const listening = `const s = require('net').createServer((c) => c.end('in')).listen(7777, '::')
      .once('listening', () => setTimeout(() => process.exit(0), 60_000))`;
    const server = at(0).exec('sh', '-c', `"$0" -e "$1" >/dev/null 2>&1 & echo $!`, process.execPath, listening);
    const pid = (await server).trim();
    const connect = (host: string): Promise<string> =>
      at(1).exec(
        process.execPath,
        '-e',
        `const c = require('net').connect({ host: '${host}', port: 7777, timeout: 800 });
         c.on('error', (e) => console.log(e.code) ?? process.exit()).on('timeout', () => console.log('silence') ?? process.exit())
          .on('data', (d) => console.log(String(d)) ?? process.exit())`,
      );
    await waitFor(async () => (await connect(at(0).address6)).trim() === 'in', {
      what: 'the server',
      timeoutMs: 30_000,
    });
    assert.equal((await connect(tunnelIp(0))).trim(), 'silence', 'a service of the host, by the tunnel');
    await at(0).exec('kill', pid);
  });

  it('sends nothing in the clear when somebody takes the tunnel away, and makes it again', async () => {
    const host = at(1);
    await ask();
    // A way for its packets that is not the tunnel, as a default route would be.
    await host.exec('ip', '-6', 'route', 'add', '::/0', 'via', at(0).address6, 'dev', 'eth0');
    portsSeen();
    const before = await counters(host, SECRET);
    await host.exec('ip', 'link', 'delete', kernelNames.tunnel(host.instance));
    const isBack = async (): Promise<boolean> => (await answers()) && (await counters(host, SECRET)).tx > before.tx;
    await waitFor(isBack, { what: 'the tunnel that somebody deleted', timeoutMs: 60_000 });
    assert.equal(portsSeen().has(VXLAN_PORT), false);
    await host.exec('ip', 'link', 'set', kernelNames.tunnel(host.instance), 'down');
    await waitFor(answers, { what: 'the tunnel that somebody put down', timeoutMs: 60_000 });
    assert.equal(portsSeen().has(VXLAN_PORT), false);
    await host.exec('ip', '-6', 'route', 'del', '::/0', 'via', at(0).address6, 'dev', 'eth0');
  });

  it('goes on with a new key once the others know it', async () => {
    const [, before] = keys;
    await readKey(1);
    assert.equal(keys[1], before, 'asked again it is the same');
    rmSync(join(paths.shimState(at(1).instance), 'network', 'tunnel-key.json'));
    await readKey(1);
    assert.notEqual(keys[1], before);
    assert.equal(await answers(), false, 'the others have the old one');
    await tellPeers();
    await waitFor(answers, { what: 'the new key', timeoutMs: 60_000 });
    assert.deepEqual(
      await at(0).send({ op: 'tunnel' }),
      [keys[1] ?? '', keys[2] ?? ''].toSorted(),
      'the old one is forgotten',
    );
  });

  it('survives a restart of the shim with key, device and peers', async () => {
    const host = at(1);
    const link = (): Promise<string> => host.exec('ip', '-o', 'link', 'show', kernelNames.tunnel(host.instance));
    const [before, peers] = [await link(), await host.send({ op: 'tunnel' })];
    await host.send({ op: 'restart' });
    await host.send({ op: 'watch' });
    assert.equal(await link(), before);
    assert.deepEqual(await host.send({ op: 'tunnel' }), peers);
    assert.equal(await ask(), `web ${client.ip}`);
  });

  it('has no place for a node that is gone: neither its key nor what it sends', async () => {
    await at(0).network('setPeers', id(SECRET), peersOf(SECRET, 0, [0, 2]));
    assert.deepEqual(await at(0).send({ op: 'tunnel' }), [keys[2]]);
    const before = await counters(at(0), SECRET);
    await silence(ask(800), 'a node that is no peer any more');
    assert.equal((await counters(at(0), SECRET)).rx, before.rx);
    await tellPeers();
    await waitFor(answers, { what: 'a node that is back', timeoutMs: 60_000 });
  });

  it('says who has the UDP port, and goes with the last encrypted network', async () => {
    const host = at(2);
    const tunnel = (): Promise<string> => host.exec('ip', '-o', 'link');
    await host.network('removeNetwork', id(SECRET));
    assert.doesNotMatch(await tunnel(), new RegExp(kernelNames.tunnel(host.instance)));
    await host.exec('ip', 'link', 'add', 'theirs', 'type', 'wireguard');
    // A device of somebody else that is up holds the port.
    const script = `const s = require('dgram').createSocket('udp4').bind(${PORT}, () => console.log('bound'));
      setTimeout(() => process.exit(0), 60_000)`;
    const pid = (
      await host.exec('sh', '-c', `"$0" -e "$1" >/dev/null 2>&1 & echo $!`, process.execPath, script)
    ).trim();
    const isHeld = async (): Promise<boolean> => (await host.exec('cat', '/proc/net/udp')).includes(':CA6C ');
    await waitFor(isHeld, { what: 'somebody with the port', timeoutMs: 30_000 });
    await assert.rejects(
      host.network('ensureNetwork', specOf(SECRET, 2)),
      /UDP port 51820 for encryption is in use on this host/,
    );
    await host.exec('kill', pid);
    await waitFor(async () => !(await isHeld()), { what: 'the port' });
    await host.network('ensureNetwork', specOf(SECRET, 2));
    await host.send({ op: 'purge' });
    assert.doesNotMatch(await tunnel(), new RegExp(kernelNames.linkPrefix(host.instance)));
  });
});

/** The UDP port that an Ethernet frame goes to; nothing for what is no UDP. */
function udpPort(frame: Buffer): number[] {
  const type = frame.readUInt16BE(12);
  if (type === 0x0800 && frame[23] === 17) return [frame.readUInt16BE(14 + ((frame[14] ?? 0) & 15) * 4 + 2)];
  if (type === 0x86dd && frame[20] === 17) return [frame.readUInt16BE(14 + 40 + 2)];
  return [];
}
