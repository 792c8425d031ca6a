// A host beside others: a process with a network namespace and a node network of its own, that does what it is told by
// JSON lines on stdin. Started by overlay-hosts.ts.
import { execFileSync } from 'node:child_process';
import { kernelNames } from '../../lib/instance.ts';
import { openGenetlink } from '../../runtime-shim/host/genetlink.ts';
import { linkIndex } from '../../runtime-shim/host/rtnetlink.ts';
import { findWireguard, readWireguard } from '../../runtime-shim/host/wireguard.ts';
import { overlayMtu } from '../../runtime-shim/network/overlay.ts';
import { answerLines } from './line-process.ts';
import { becomePrivateHost, startNetwork } from './node-network.ts';

export type HostCommand =
  | {
      op: 'network';
      method:
        | 'ensureNetwork'
        | 'removeNetwork'
        | 'setPeers'
        | 'attachSandbox'
        | 'attachNetwork'
        | 'detachNetwork'
        | 'setServices'
        | 'detachSandbox';
      args: readonly unknown[];
    }
  | { op: 'namespace'; name: string }
  | { op: 'exec'; argv: readonly string[] }
  | { op: 'mtu'; underlayIp: string; wanted: number; isEncrypted?: boolean }
  | { op: 'encryption' }
  | { op: 'tunnel' }
  | { op: 'watch' }
  | { op: 'restart' }
  | { op: 'purge' };

becomePrivateHost();
const harness = await startNetwork();
let stop = new AbortController();
let watching: Promise<void> = Promise.resolve();
/** A shim that is killed sees nothing more. */
const endWatch = async (): Promise<void> => {
  stop.abort();
  await watching;
  stop = new AbortController();
};

async function run(command: HostCommand): Promise<unknown> {
  switch (command.op) {
    case 'network':
      return await (harness.network[command.method] as (...args: readonly unknown[]) => Promise<unknown>)(
        ...command.args,
      );
    case 'namespace':
      return harness.addNamespace(command.name);
    case 'exec': {
      const [file = '', ...args] = command.argv;
      return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    }
    case 'mtu':
      return overlayMtu(command.underlayIp, command.wanted, { isEncrypted: command.isEncrypted ?? false });
    case 'encryption':
      return harness.network.encryption();
    case 'tunnel':
      return readTunnel();
    case 'watch':
      watching = harness.network.run(stop.signal);
      return undefined;
    case 'restart':
      await endWatch();
      await harness.restart();
      return undefined;
    case 'purge':
      await harness.network.purge();
      return undefined;
  }
}

/** Public keys of the peers that the kernel has for the device, sorted. */
function readTunnel(): string[] {
  using generic = openGenetlink();
  const family = findWireguard(generic) ?? 0;
  const index = linkIndex(kernelNames.tunnel(harness.instance));
  return index === 0 ? [] : [...readWireguard(generic, family, index).peers.keys()].toSorted();
}

await answerLines({ pid: process.pid, instance: harness.instance }, run);
await endWatch();
await harness[Symbol.asyncDispose]();
process.exit(0);
