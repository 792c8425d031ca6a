// A node network over a network namespace of its own: the test process's main thread becomes "the host", so that
// nothing of the machine's real network is touched and bridge-nf settings can be changed.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describeInstance, type Instance } from '../../lib/instance.ts';
import { silentLogger } from '../../lib/log.ts';
import { check, libc } from '../../runtime-shim/host/libc.ts';
import { umountTree } from '../../runtime-shim/host/mount.ts';
import { createSandboxNamespaces } from '../../runtime-shim/host/namespaces.ts';
import { createNodeNetwork } from '../../runtime-shim/network/create-node-network.ts';
import type {
  Attachment,
  NetworkIpv6,
  NetworkSpec,
  NodeNetwork,
  PublishedPort,
  SandboxNetwork,
} from '../../runtime-shim/network/node-network.ts';
import { forLeftOvers } from './left-overs.ts';
import { startLineProcess } from './line-process.ts';
import type { PeerCommand } from './netns-peer.ts';

const PREFIX = 'windlass-net-';
const CLONE_NEWNET = 0x40000000;
const peerProgram = fileURLToPath(new URL('netns-peer.ts', import.meta.url));

/** Moves this process (main thread) into a new network namespace, for good. Needs root. */
export function becomePrivateHost(): void {
  check(libc.unshare(CLONE_NEWNET), 'unshare');
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
}

export interface Peer {
  send(command: PeerCommand): Promise<string>;
  serve(protocol: 'TCP' | 'UDP', port: number, label: string): Promise<string>;
  /** The same for clients that come by IPv6 alone. */
  serveIpv6(protocol: 'TCP' | 'UDP', port: number, label: string): Promise<string>;
  /** What the server answers; rejects with `timeout`, `ECONNREFUSED`, ... */
  ask(protocol: 'TCP' | 'UDP', host: string, port: number, timeoutMs?: number): Promise<string>;
  resolve(server: string, name: string, type?: 'A' | 'AAAA' | 'PTR'): Promise<string>;
  stop(): Promise<void>;
}

/** Starts a peer in the namespace at `path`; in the private host without one. Commands are answered in order. */
export async function startPeer(path?: string): Promise<Peer> {
  const [file, ...args] = [...(path ? ['nsenter', `--net=${path}`] : []), process.execPath, peerProgram];
  const { send: tell, stop } = await startLineProcess<PeerCommand>(file ?? '', args);
  const send = async (command: PeerCommand): Promise<string> => ((await tell(command)) as string | undefined) ?? '';
  return {
    send,
    serve: (protocol, port, label) => send({ op: 'serve', protocol, port, label }),
    serveIpv6: (protocol, port, label) => send({ op: 'serve', protocol, port, label, host: '::' }),
    ask: (protocol, host, port, timeoutMs = 2000) => send({ op: 'ask', protocol, host, port, timeoutMs }),
    resolve: (server, name, type = 'A') => send({ op: 'resolve', server, name, type, timeoutMs: 2000 }),
    stop,
  };
}

/** A network with everything at its default; `id` picks nothing, the subnet is `10.<octet>.0.0/24`. */
export function makeNetwork(octet: number, overrides: Partial<NetworkSpec> = {}): NetworkSpec {
  return {
    id: `default/net${octet}`,
    subnets: [{ cidr: `10.${octet}.0.0/24`, gateway: `10.${octet}.0.1`, ranges: [] }],
    internal: false,
    isolated: false,
    mtu: 1500,
    domain: 'default',
    ...overrides,
  };
}

/** The IPv6 side of makeNetwork(): `fd00:<octet>::/64`. */
export const makeIpv6 = (octet: number): NetworkIpv6 => ({
  ...{ cidr: `fd00:${octet}::/64`, gateway: `fd00:${octet}::1`, pool: `fd00:${octet}::/64` },
});

export interface Sandbox {
  readonly id: string;
  readonly netns: string;
  readonly network: SandboxNetwork;
  readonly ip: string;
  /** '' where its first network has no IPv6. */
  readonly ipv6: string;
  readonly peer: Peer;
}

export interface NetworkHarness extends AsyncDisposable {
  readonly instance: Instance;
  network: NodeNetwork;
  /** The network of a shim that was killed and started again; the old one is left to itself. */
  restart(): Promise<void>;
  /** Namespace, attachment to the networks, and a peer inside. */
  addSandbox(
    id: string,
    networks: readonly (string | Attachment)[],
    ports?: readonly PublishedPort[],
  ): Promise<Sandbox>;
  /** An unattached namespace. */
  addNamespace(name: string): string;
  /** Where the namespace of that name is pinned; `outside` is the outside world's. */
  namespacePath(name: string): string;
  /** A machine beside the host: 192.0.2.2 and fd00:2::2 behind the host's .1 and ::1, with its default routes through the host. */
  addOutsideWorld(): Promise<Peer>;
}

/** Starts a node network with no state. Dispose ends every peer and removes every object. */
export async function startNetwork(options: { upstreamResolvers?: readonly string[] } = {}): Promise<NetworkHarness> {
  // Namespaces that a crashed run left pinned; everything else of it died with its private host.
  await forLeftOvers(PREFIX, removeRoot);
  const root = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  const instance = describeInstance(join(root, 'home'), join(root, 'run'));
  const peers: Peer[] = [];
  const create = (): NodeNetwork => createNodeNetwork({ instance, log: silentLogger(), ...options });
  const track = async (path?: string): Promise<Peer> => {
    const peer = await startPeer(path);
    peers.push(peer);
    return peer;
  };
  const addNamespace = (name: string): string => {
    const path = join(root, 'netns', name);
    createSandboxNamespaces({ net: path, hostname: name });
    return path;
  };
  const network = create();
  await network.recover();
  const harness: NetworkHarness = {
    instance,
    network,
    addNamespace,
    namespacePath: (name) => join(root, 'netns', name),
    async restart() {
      harness.network = create();
      await harness.network.recover();
    },
    async addSandbox(id, networks, ports = []) {
      const netns = addNamespace(id);
      const attachments = networks.map((item) => (typeof item === 'string' ? { network: item, names: [id] } : item));
      const attached = await harness.network.attachSandbox(id, netns, attachments, ports, `Container default/${id}`);
      const [first] = attached.interfaces;
      const addresses = { ip: first?.ipv4Address ?? '', ipv6: first?.ipv6?.address ?? '' };
      return { id, netns, network: attached, ...addresses, peer: await track(netns) };
    },
    async addOutsideWorld() {
      const path = addNamespace('outside');
      const ip = (...args: string[]): void => void execFileSync('ip', args);
      const inside = (...args: string[]): void => void execFileSync('nsenter', [`--net=${path}`, 'ip', ...args]);
      ip('link', 'add', 'uplink', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', path);
      ip('addr', 'add', '192.0.2.1/24', 'dev', 'uplink');
      ip('link', 'set', 'uplink', 'up');
      inside('addr', 'add', '192.0.2.2/24', 'dev', 'eth0');
      inside('link', 'set', 'lo', 'up');
      inside('link', 'set', 'eth0', 'up');
      inside('route', 'add', 'default', 'via', '192.0.2.1');
      ip('addr', 'add', 'fd00:2::1/64', 'dev', 'uplink', 'nodad');
      inside('addr', 'add', 'fd00:2::2/64', 'dev', 'eth0', 'nodad');
      inside('-6', 'route', 'add', 'default', 'via', 'fd00:2::1');
      return await track(path);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(peers.map((peer) => peer.stop()));
      await harness.network.purge();
      removeRoot(root);
    },
  };
  return harness;
}

function removeRoot(root: string): void {
  umountTree(root);
  rmSync(root, { recursive: true, force: true });
}
