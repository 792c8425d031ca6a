// Hosts on one switch, each a process in a network namespace of its own with a node network: what an overlay spans.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Instance } from '../../lib/instance.ts';
import type { NetworkSpec, SandboxNetwork } from '../../runtime-shim/network/node-network.ts';
import { startLineProcess } from './line-process.ts';
import { makeNetwork, startPeer, type Peer, type Sandbox } from './node-network.ts';
import type { HostCommand } from './overlay-host.ts';

const program = fileURLToPath(new URL('overlay-host.ts', import.meta.url));

export interface OverlayHost extends AsyncDisposable {
  readonly instance: Instance;
  /** Its address on the switch. */
  readonly address: string;
  readonly address6: string;
  /** Path of its network namespace. */
  readonly netns: string;
  send(command: HostCommand): Promise<unknown>;
  network(method: Extract<HostCommand, { op: 'network' }>['method'], ...args: readonly unknown[]): Promise<unknown>;
  exec(...argv: readonly string[]): Promise<string>;
  addSandbox(id: string, networks: readonly string[]): Promise<Sandbox>;
}

export interface OverlayHosts extends AsyncDisposable {
  readonly hosts: readonly OverlayHost[];
}

/** Starts hosts 192.0.2.1 and fd00:2::1, .2 and ::2, ... on a switch of this process's network namespace, which must be a private one. */
export async function startOverlayHosts(count: number, { mtu = 1500 } = {}): Promise<OverlayHosts> {
  const ip = (...args: readonly string[]): void => void execFileSync('ip', args);
  ip('link', 'add', 'switch', 'type', 'bridge');
  ip('link', 'set', 'switch', 'up');
  const hosts = await Promise.all(Array.from({ length: count }, (_, index) => startHost(index, mtu)));
  return {
    hosts,
    async [Symbol.asyncDispose]() {
      await Promise.all(hosts.map((host) => host[Symbol.asyncDispose]()));
    },
  };
}

async function startHost(index: number, mtu: number): Promise<OverlayHost> {
  const host = await startLineProcess<HostCommand>(process.execPath, [program]);
  const { pid, instance } = host.hello as { pid: number; instance: Instance };
  const address = `192.0.2.${index + 1}`;
  const address6 = `fd00:2::${index + 1}`;
  const port = `port${index}`;
  execFileSync('ip', [
    'link',
    'add',
    port,
    'mtu',
    String(mtu),
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'mtu',
    String(mtu),
    'netns',
    String(pid),
  ]);
  execFileSync('ip', ['link', 'set', port, 'master', 'switch', 'up']);
  const { send } = host;
  const exec = async (...argv: readonly string[]): Promise<string> => String(await send({ op: 'exec', argv }));
  await exec('ip', 'addr', 'add', `${address}/24`, 'dev', 'eth0');
  await exec('ip', 'addr', 'add', `${address6}/64`, 'dev', 'eth0', 'nodad');
  await exec('ip', 'link', 'set', 'eth0', 'up');
  const peers: Peer[] = [];
  return {
    instance,
    address,
    address6,
    netns: `/proc/${pid}/ns/net`,
    send,
    exec,
    network: (method, ...args) => send({ op: 'network', method, args }),
    async addSandbox(id, networks) {
      const netns = String(await send({ op: 'namespace', name: id }));
      const attachments = networks.map((network) => ({ network, names: [id] }));
      const args = [id, netns, attachments, [], `Container default/${id}`];
      const network = (await send({ op: 'network', method: 'attachSandbox', args })) as SandboxNetwork;
      const peer = await startPeer(netns);
      peers.push(peer);
      const [first] = network.interfaces;
      return { id, netns, network, ip: first?.ipv4Address ?? '', ipv6: first?.ipv6?.address ?? '', peer };
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(peers.map((peer) => peer.stop()));
      await host.stop();
    },
  };
}

/** The overlay `10.<octet>.0.0/20` as host number `index` has it: VNI 1000 + octet, addresses from 10.<octet>.<index>.0/24. */
export function makeOverlay(
  octet: number,
  host: OverlayHost,
  index: number,
  overrides: Partial<NetworkSpec> = {},
): NetworkSpec {
  const nodeIp = `10.${octet}.${index}.2`;
  return makeNetwork(octet, {
    subnets: [{ cidr: `10.${octet}.0.0/20`, gateway: `10.${octet}.0.1`, ranges: [`10.${octet}.${index}.0/24`] }],
    mtu: 1450,
    overlay: { vni: 1000 + octet, port: 4789, underlayIp: host.address, nodeIp, nodeMac: nodeMacOf(octet, index) },
    ...overrides,
  });
}

export const nodeMacOf = (octet: number, index: number): string =>
  `02:00:00:00:${octet.toString(16).padStart(2, '0')}:0${index}`;
