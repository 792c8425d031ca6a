// Two small controllers: each Network that is used here is made true and its bridge reported; the tables of Services
// are told to the runtime whenever they differ from what it was told last.
import { setTimeout as sleep } from 'node:timers/promises';
import type { KindClient } from '../../../client/client.ts';
import { INGRESS_NETWORK, isIngress, type Network } from '../../../crds/network.ts';
import { isConflict, isNotFound } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import { splitKey } from '../../runtime/object-key.ts';
import type { ReconcileOptions, Result } from '../../runtime/reconciler.ts';
import type { Cluster } from '../cluster.ts';
import { networkNamesOf } from '../container/sandbox-config.ts';
import { canonicalJson } from '../container/spec-hash.ts';
import type { PortConflicts } from '../../runtime/port-conflicts.ts';
import type { Ingress, NodeRuntime, PortConflict } from '../runtime/node-runtime.ts';
import type { NodeNetworks } from './node-networks.ts';
import { buildServiceTables } from './service-tables.ts';

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

export interface ServiceTablesDeps {
  readonly cluster: Cluster;
  readonly runtime: Pick<NodeRuntime, 'setServices' | 'setNames'>;
  readonly networks: Pick<NodeNetworks, 'ensure'>;
  readonly nodeName: string;
  readonly log: Logger;
  readonly recordConflict: (serviceId: string, message: string) => void;
  /** Told whenever they are not what they were: what this node cannot publish now. */
  readonly onConflicts: (conflicts: PortConflicts) => void;
}

/** By Service. Without a holder the runtime has no Services at all, which is no conflict. */
function describeConflicts(conflicts: readonly PortConflict[]): PortConflicts {
  const byService = Map.groupBy(
    conflicts.filter(({ holder }) => holder !== ''),
    ({ serviceId }) => serviceId,
  );
  return new Map(
    [...byService].map(([id, list]) => [
      id,
      list.map(({ port, protocol, holder }) => `port ${port}/${protocol} is taken by ${holder}`).join(', '),
    ]),
  );
}

/** Changes that come together are told together. */
const SETTLE_MS = 5;

/** Reconciles the tables as a whole; `forget` makes the next call tell them again. */
export function createServiceTablesReconciler(deps: ServiceTablesDeps) {
  let toldServices = '';
  let toldNames = '';
  let toldConflicts = '';
  let last: Promise<unknown> = Promise.resolve();
  /** Only what the runtime has got can carry anything; the network's own controller says why it has not. */
  const usable = async (ingress: Ingress | undefined): Promise<Ingress | undefined> => {
    if (!ingress) return undefined;
    const need = await deps.networks.ensure(INGRESS_NETWORK.namespace, INGRESS_NETWORK.name);
    return need.state === 'Ready' ? ingress : undefined;
  };
  const tell = async (signal: AbortSignal): Promise<Result> => {
    await sleep(SETTLE_MS, undefined, { signal });
    const tables = buildServiceTables({
      services: deps.cluster.services.list(),
      containers: deps.cluster.containers.list(),
      networks: deps.cluster.networks.list(),
      nodeName: deps.nodeName,
    });
    const names = canonicalJson(tables.names);
    if (names !== toldNames) {
      await deps.runtime.setNames(tables.names);
      toldNames = names;
    }
    const ingress = await usable(tables.ingress);
    const services = canonicalJson([tables.services, ingress ?? null]);
    // A taken port may have become free: it is asked for again as long as it is wanted.
    const isCutOff = tables.ingress !== undefined && !ingress;
    if (services === toldServices && toldConflicts === '') return isCutOff ? { requeueAfterMs: 5000 } : {};
    const conflicts = await deps.runtime.setServices(tables.services, ingress);
    toldServices = services;
    const conflictText = canonicalJson(conflicts);
    if (conflicts.length > 0 && conflictText !== toldConflicts) {
      for (const { serviceId, protocol, port, holder } of conflicts) {
        const why = holder === '' ? 'is not served: its container runtime has no Services' : `is taken by ${holder}`;
        deps.recordConflict(serviceId, `port ${port}/${protocol} on node ${deps.nodeName} ${why}`);
      }
    }
    if ((conflicts.length > 0 ? conflictText : '') !== toldConflicts) deps.onConflicts(describeConflicts(conflicts));
    toldConflicts = conflicts.length > 0 ? conflictText : '';
    return conflicts.length > 0 || isCutOff ? { requeueAfterMs: 5000 } : {};
  };
  return {
    forget(): void {
      toldServices = '';
      toldNames = '';
    },
    /** One at a time: what is told last must be what was seen last. */
    reconcile: (_: string, { signal }: ReconcileOptions): Promise<Result> => {
      const result = last.then(() => tell(signal));
      last = result.catch(() => undefined);
      return result;
    },
  };
}
