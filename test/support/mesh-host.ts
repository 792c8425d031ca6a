// A program that is one host of several: a net namespace of its own with a node network. Started by mesh.ts.
import { execFileSync } from 'node:child_process';
import type { PeerCommand } from './netns-peer.ts';
import type { IngressSpec, NetworkSpec, ServiceSpec } from '../../runtime-shim/network/node-network.ts';
import { kernelNames } from '../../lib/instance.ts';
import { answerLines } from './line-process.ts';
import { becomePrivateHost, startNetwork, startPeer, type Peer } from './node-network.ts';

export type HostCommand =
  | { op: 'exec'; argv: string[] }
  | { op: 'network'; spec: NetworkSpec; uplink?: string }
  | { op: 'sandbox'; id: string; network: string }
  | { op: 'services'; services: ServiceSpec[]; ingress?: IngressSpec; revision?: number }
  | { op: 'await-peers'; revision: number; timeoutMs: number }
  | { op: 'table' }
  | { op: 'restart' }
  | { op: 'peer'; at: string; command: PeerCommand };

becomePrivateHost();
const harness = await startNetwork();
const peers = new Map<string, Peer>([['host', await startPeer()]]);
let stop = new AbortController();
let running = harness.network.run(stop.signal);

async function run(command: HostCommand): Promise<unknown> {
  switch (command.op) {
    case 'exec':
      return execFileSync(command.argv[0] ?? '', command.argv.slice(1), { encoding: 'utf8', stdio: 'pipe' });
    case 'network': {
      const { bridge } = await harness.network.ensureNetwork(command.spec);
      if (command.uplink !== undefined) {
        execFileSync('ip', ['link', 'set', command.uplink, 'master', bridge]);
        execFileSync('ip', ['link', 'set', command.uplink, 'up']);
      }
      return { bridge, table: kernelNames.nftTable(harness.instance) };
    }
    case 'sandbox': {
      const { ip, peer } = await harness.addSandbox(command.id, [command.network]);
      peers.set(command.id, peer);
      return ip;
    }
    case 'services':
      return await harness.network.setServices(command.services, command.ingress, command.revision);
    case 'await-peers':
      return await harness.network.awaitPeers(command.revision, command.timeoutMs);
    case 'table':
      return { table: kernelNames.nftTable(harness.instance) };
    case 'restart':
      stop.abort();
      await running;
      await harness.restart();
      stop = new AbortController();
      running = harness.network.run(stop.signal);
      return 'restarted';
    case 'peer':
      return await peers.get(command.at)?.send(command.command);
  }
}

await answerLines({ pid: process.pid }, run);
stop.abort();
await running;
await peers.get('host')?.stop();
await harness[Symbol.asyncDispose]();
process.exit(0);
