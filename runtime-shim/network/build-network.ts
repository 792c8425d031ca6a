// The network that the RUN steps of one build share: what a sandbox has of a network (a net namespace with an address,
// the names of the network), without the sandbox. It lies where sandboxes lie, so that recovery removes it after a crash
// like one that was kept ready and never taken.
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { paths } from '../../lib/instance.ts';
import type { Shim } from '../rpc/deps.ts';
import { resolvConf } from '../rpc/sandbox-files.ts';
import type { SandboxNetwork } from './node-network.ts';
import { POD_NETWORK } from './pod-network.ts';

/** What a step gets of it. */
export interface BuildConnection {
  /** The pinned net namespace. */
  readonly netnsPath: string;
  /** Text of /etc/resolv.conf. */
  readonly resolvConf: string;
  readonly ipv4Address: string;
}

/** Disposed at the end of the build, when no step is in it any more: namespace and address are given back. */
export interface BuildNetwork extends AsyncDisposable {
  /** Made with the first call; the same from then on. NotFound for a network that is not on this node. */
  connect(): Promise<BuildConnection>;
}

export type BuildNetworkParts = Pick<Shim, 'instance' | 'host' | 'network' | 'podNetwork' | 'pool'>;

/** The place of build `buildId` in network `networkId`, which is not taken yet. */
export function openBuildNetwork(
  { instance, host, network, podNetwork, pool }: BuildNetworkParts,
  { buildId, networkId }: { readonly buildId: string; readonly networkId: string },
): BuildNetwork {
  const label = `build ${buildId}`;
  let made: { readonly id: string; readonly connection: Promise<BuildConnection> } | undefined;
  let isClosed = false;
  const netnsOf = (id: string): string => join(paths.shimState(instance), 's', id, 'ns', 'net');

  async function attach(id: string): Promise<SandboxNetwork> {
    if (networkId === POD_NETWORK) await podNetwork.ensure();
    // The folder comes first: it is what recovery finds.
    mkdirSync(join(paths.shimState(instance), 's', id), { recursive: true, mode: 0o711 });
    host.createSandboxNamespaces({ net: netnsOf(id), hostname: '' });
    return network.attachSandbox(id, netnsOf(id), [{ network: networkId, names: [] }], [], label);
  }

  async function connect(id: string, isPooled: boolean): Promise<BuildConnection> {
    try {
      const { interfaces } = await (isPooled ? network.adoptSandbox(id, [], [], label) : attach(id));
      const ipv4Address = interfaces[0]?.ipv4Address ?? '';
      return { netnsPath: netnsOf(id), resolvConf: resolvConf(null, interfaces), ipv4Address };
    } catch (error) {
      made = undefined;
      await pool.discard(id);
      throw error;
    }
  }

  return {
    connect() {
      if (isClosed) throw new Error(`the network of build ${buildId} was given back`);
      if (!made) {
        const pooled = pool.take(networkId);
        const id = pooled ?? randomBytes(32).toString('hex');
        made = { id, connection: connect(id, pooled !== undefined) };
      }
      return made.connection;
    },
    async [Symbol.asyncDispose]() {
      isClosed = true;
      const { id, connection } = made ?? {};
      if (id === undefined) return;
      // One that is being made is given back when it is there.
      if (
        await connection?.then(
          () => true,
          () => false,
        )
      )
        await pool.discard(id);
    },
  };
}
