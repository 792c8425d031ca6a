// Hosts in namespaces of their own around a router: 192.0.2.<n> for the hosts, 192.0.2.254 for the router, which the test
// process is, and behind it a client at 198.51.100.7. A second cable per host leads to a switch for the ingress network.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { writeSysctl } from '../../runtime-shim/host/sysctl.ts';
import { startLineProcess } from './line-process.ts';
import type { HostCommand } from './mesh-host.ts';
import type { PeerCommand } from './netns-peer.ts';

const program = fileURLToPath(new URL('mesh-host.ts', import.meta.url));
const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' });

export interface MeshHost {
  readonly pid: number;
  readonly ip: string;
  tell<T = string>(command: HostCommand): Promise<T>;
  /** What a peer in the sandbox, or on the host with `host`, answers. */
  peer(at: string, command: PeerCommand): Promise<string>;
  stop(): Promise<void>;
}

/** The router's part; call it once, in the private host of the test. */
export function becomeRouter(): void {
  for (const bridge of ['underlay', 'switch']) {
    ip('link', 'add', bridge, 'type', 'bridge');
    ip('link', 'set', bridge, 'up');
  }
  ip('addr', 'add', '192.0.2.254/24', 'dev', 'underlay');
  writeSysctl('net/ipv4/ip_forward', '1');
}

/** Starts host number `n`. */
export async function startMeshHost(n: number, { rpFilter = '0' }: { rpFilter?: string } = {}): Promise<MeshHost> {
  const { hello, send, stop } = await startLineProcess<HostCommand>(process.execPath, [program]);
  const { pid } = hello as { pid: number };
  const tell = async <T>(command: HostCommand): Promise<T> => (await send(command)) as T;
  const exec = (...argv: string[]): Promise<string> => tell({ op: 'exec', argv });
  for (const [cable, bridge] of [
    ['uplink', 'underlay'],
    ['trunk', 'switch'],
  ] as const) {
    ip('link', 'add', `${cable}${n}`, 'type', 'veth', 'peer', 'name', cable, 'netns', String(pid));
    ip('link', 'set', `${cable}${n}`, 'master', bridge, 'up');
  }
  await exec('sysctl', '-qw', `net.ipv4.conf.all.rp_filter=${rpFilter}`, `net.ipv4.conf.default.rp_filter=${rpFilter}`);
  await exec('ip', 'addr', 'add', `192.0.2.${n}/24`, 'dev', 'uplink');
  await exec('ip', 'link', 'set', 'uplink', 'up');
  await exec('ip', 'route', 'add', 'default', 'via', '192.0.2.254');
  return {
    pid,
    ip: `192.0.2.${n}`,
    tell,
    peer: (at, command) => tell({ op: 'peer', at, command }),
    stop,
  };
}
