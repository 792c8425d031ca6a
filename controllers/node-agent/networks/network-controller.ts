// Each Network that is used here is made true and its bridge reported.
import type { KindClient } from '../../../client/client.ts';
import { isIngress, type Network } from '../../../crds/network.ts';
import { isConflict, isNotFound } from '../../../lib/errors.ts';
import { splitKey } from '../../runtime/object-key.ts';
import type { ReconcileOptions, Result } from '../../runtime/reconciler.ts';
import type { Cluster } from '../cluster.ts';
import { networkNamesOf } from '../container/sandbox-config.ts';
import type { NodeRuntime } from '../runtime/node-runtime.ts';
import type { NodeNetworks } from './node-networks.ts';

export interface NetworkReconcilerDeps {
  readonly cluster: Cluster;
  readonly client: Pick<KindClient<Network>, 'updateStatus'>;
  readonly runtime: Pick<NodeRuntime, 'removeNetwork' | 'listNetworks'>;
  readonly networks: NodeNetworks;
  readonly nodeName: string;
}

/** Reconciles one Network on this node. */
export function createNetworkReconciler(deps: NetworkReconcilerDeps) {
  return async (key: string, { signal }: ReconcileOptions): Promise<Result> => {
    const { namespace = '', name } = splitKey(key);
    const network = deps.cluster.networks.get(namespace, name);
    const isUsed = deps.cluster.containers
      .list(namespace)
      .some((container) => container.spec.nodeName === deps.nodeName && networkNamesOf(container).includes(name));
    if (!network) {
      if (!isUsed && (await deps.runtime.listNetworks()).includes(key)) await remove(deps, key);
      return {};
    }
    const isEverywhere = isIngress(network);
    // What a node has once had stays there, and should not go stale.
    const isHere = network.status?.nodes?.some(({ name: node, bridge }) => node === deps.nodeName && bridge);
    const isKept = isHere && network.spec.driver === 'overlay';
    if (!(isUsed || isEverywhere || isKept) || network.metadata.deletionTimestamp !== undefined) return {};
    const need = await deps.networks.ensure(namespace, name);
    if (need.state === 'Ready') await deps.networks.tellPeers(network);
    const entry = network.status?.nodes?.find((one) => one.name === deps.nodeName);
    // The entry itself is the network controller's: it holds the node's addresses.
    if (!entry) return {};
    // Every agent reads what each of them writes there: without a container on it, only what went wrong is worth that.
    if (isEverywhere && !isUsed && need.state === 'Ready' && entry.ready !== false) return {};
    const wanted =
      need.state === 'Ready' ? { bridge: need.bridge, ready: true } : { ready: false, message: need.message };
    if (
      entry.bridge === (wanted.bridge ?? entry.bridge) &&
      entry.ready === wanted.ready &&
      entry.message === wanted.message
    ) {
      return need.state === 'Ready' ? {} : { requeueAfterMs: 2000 };
    }
    const { message: _, ...kept } = entry;
    const nodes = network.status?.nodes?.map((one) => (one.name === deps.nodeName ? { ...kept, ...wanted } : one));
    try {
      await deps.client.updateStatus({ ...network, status: { ...network.status, nodes } }, signal);
    } catch (error) {
      if (!isConflict(error) && !isNotFound(error)) throw error;
      return { requeueAfterMs: 20 };
    }
    return need.state === 'Ready' ? {} : { requeueAfterMs: 2000 };
  };
}

/** Removes networks of the runtime whose Network is gone. */
export async function removeStrayNetworks(deps: NetworkReconcilerDeps): Promise<void> {
  for (const id of await deps.runtime.listNetworks()) {
    const { namespace = '', name } = splitKey(id);
    const isUsed = deps.cluster.containers
      .list(namespace)
      .some((container) => container.spec.nodeName === deps.nodeName && networkNamesOf(container).includes(name));
    if (!deps.cluster.networks.get(namespace, name) && !isUsed) await remove(deps, id);
  }
}

/** A Network of the same name may come again, and must then be made again. */
async function remove(deps: NetworkReconcilerDeps, id: string): Promise<void> {
  await deps.runtime.removeNetwork(id);
  deps.networks.forget();
}
