// Each Network that is used here is made true and its bridge reported.
import type { KindClient } from '../../../client/client.ts';
import { isIngress, type Network } from '../../../crds/network.ts';
import { isNotFound, reasonOf } from '../../../lib/errors.ts';
import { splitKey } from '../../runtime/object-key.ts';
import type { ReconcileOptions, Result } from '../../runtime/reconciler.ts';
import type { Cluster } from '../cluster.ts';
import { networkNamesOf } from '../container/sandbox-config.ts';
import type { NodeRuntime } from '../runtime/node-runtime.ts';
import { planNetworkReport } from './network-report.ts';
import type { NodeNetworks } from './node-networks.ts';

/** Until a network that cannot be used yet is looked at again. */
const RETRY_MS = 2_000;
const STALE_MS = 500;

export interface NetworkReconcilerDeps {
  readonly cluster: Cluster;
  readonly client: Pick<KindClient<Network>, 'jsonPatch'>;
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
    const again = need.state === 'Ready' ? {} : { requeueAfterMs: RETRY_MS };
    const report = planNetworkReport(network, deps.nodeName, { need, isUsed });
    if (!report) return again;
    try {
      await deps.client.jsonPatch(name, namespace, report, { subresource: 'status' }, signal);
    } catch (error) {
      if (!isNotFound(error) && reasonOf(error) !== 'Invalid') throw error;
      // The cache is behind: what it does not know yet comes as an event, unless it has come already.
      return { requeueAfterMs: STALE_MS };
    }
    return again;
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
