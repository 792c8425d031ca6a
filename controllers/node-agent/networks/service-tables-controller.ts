// The tables of Services are told to the runtime whenever they differ from what it was told last. An endpoint comes into
// the tables of its own node first and leaves them last, so that no node sends a client to one that does not take it.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Container } from '../../../crds/container.ts';
import { INGRESS_NETWORK } from '../../../crds/network.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/log.ts';
import type { PortConflicts } from '../../runtime/port-conflicts.ts';
import type { ReconcileOptions, Result } from '../../runtime/reconciler.ts';
import type { Cluster } from '../cluster.ts';
import { canonicalJson } from '../container/spec-hash.ts';
import { graceSecondsOf } from '../container/grace-seconds.ts';
import type { Ingress, NodeRuntime, PortConflict } from '../runtime/node-runtime.ts';
import { createAdmissions, hasSuccessor, isMember } from './endpoint-moves.ts';
import type { NodeNetworks } from './node-networks.ts';
import { buildServiceTables, placedIn } from './service-tables.ts';

export interface ServiceTablesDeps {
  readonly cluster: Cluster;
  readonly runtime: Pick<NodeRuntime, 'setServices' | 'setNames' | 'awaitPeers'>;
  readonly networks: Pick<NodeNetworks, 'ensure'>;
  readonly clock: Clock;
  readonly nodeName: string;
  readonly log: Logger;
  /** Whether the cluster is known as far as the tables need it: told before, they would lack what is not known yet. */
  readonly isSynced: () => boolean;
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

export interface ServiceTablesReconciler {
  /** Makes the next call tell everything again. */
  forget(): void;
  /** Brings the tables of the node up to date. */
  reconcile(key: string, options: ReconcileOptions): Promise<Result>;
  /**
   * Before the cluster is told that a Container of this node is Ready, or is not any more: clients that another node
   * sends here find it in the tables.
   */
  admit(container: Container, options: ReconcileOptions): Promise<void>;
  /**
   * Before a Container that is being deleted is asked to stop: resolves when no node sends it clients any more, or after
   * REMOVAL_WAIT_MS, or its grace period if that is shorter. Where nobody else would take them there is no wait.
   */
  retire(container: Container, options: ReconcileOptions): Promise<void>;
}

/** What a node that is slow, or does not hear of changes, may cost a stop. */
const REMOVAL_WAIT_MS = 2000;
/** For connections that are just being opened: what was sent before the last node knew, and what has not been accepted yet. */
const LINGER_MS = 100;

/** Reconciles the tables as a whole. */
export function createServiceTablesReconciler(deps: ServiceTablesDeps): ServiceTablesReconciler {
  const admissions = createAdmissions();
  let toldServices = '';
  let toldRevision = 0;
  let hasPeers = false;
  let canDrain: boolean | undefined;
  let toldNames = '';
  let toldConflicts = '';
  let last: Promise<unknown> = Promise.resolve();
  /** Only what the runtime has got can carry anything; the network's own controller says why it has not. */
  const usable = async (ingress: Ingress | undefined): Promise<Ingress | undefined> => {
    if (!ingress) return undefined;
    const need = await deps.networks.ensure(INGRESS_NETWORK.namespace, INGRESS_NETWORK.name);
    return need.state === 'Ready' ? ingress : undefined;
  };
  /** A call that has not looked yet: whoever comes before it does is served by it. */
  let next: Promise<Result> | undefined;
  const settle = async (signal: AbortSignal): Promise<void> => {
    try {
      await sleep(SETTLE_MS, undefined, { signal });
    } finally {
      next = undefined;
    }
  };
  const tell = async (signal: AbortSignal): Promise<Result> => {
    await settle(signal);
    canDrain ??= (await deps.runtime.awaitPeers(0, 0)) !== undefined;
    const tables = buildServiceTables({
      services: deps.cluster.services.list(),
      containers: admissions.apply(placedIn(deps.cluster, deps.nodeName)),
      networks: deps.cluster.networks.list(),
      nodeName: deps.nodeName,
      canDrain,
    });
    const names = canonicalJson(tables.names);
    if (names !== toldNames) {
      await deps.runtime.setNames(tables.names);
      toldNames = names;
    }
    const ingress = await usable(tables.ingress);
    hasPeers = ingress !== undefined;
    const services = canonicalJson([tables.services, ingress ?? null]);
    // A taken port may have become free: it is asked for again as long as it is wanted.
    const isCutOff = tables.ingress !== undefined && !ingress;
    const isTold = services === toldServices && tables.revision <= toldRevision;
    if (isTold && toldConflicts === '') return isCutOff ? { requeueAfterMs: 5000 } : {};
    const revision = Math.max(tables.revision, toldRevision);
    const conflicts = await deps.runtime.setServices(tables.services, ingress, revision);
    toldServices = services;
    toldRevision = revision;
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
  /** One at a time: what is told last must be what was seen last. */
  const reconcile: ServiceTablesReconciler['reconcile'] = (_, { signal }) => {
    if (next) return next;
    next = last.then(() => tell(signal));
    last = next.catch(() => undefined);
    return next;
  };
  /** Whatever stands in the way: the status is told, and the stop goes on. */
  const attempt = async <T>(container: Container, what: string, work: Promise<T>): Promise<T | undefined> => {
    try {
      return await work;
    } catch (err) {
      deps.log.warn({ container: container.metadata.name, err }, `failed to ${what}`);
      return undefined;
    }
  };
  return {
    forget() {
      toldServices = '';
      toldNames = '';
      // It may be a runtime of another version.
      canDrain = undefined;
    },
    reconcile,
    async admit(container, options) {
      const isNew = admissions.note(container, deps.cluster.containers);
      if (!isNew || !hasPeers || !deps.isSynced()) return;
      await attempt(container, 'admit an endpoint ahead of its status', reconcile('tables', options));
    },
    async retire(container, options) {
      if (!isMember(container)) return;
      if (deps.isSynced()) await attempt(container, 'take an endpoint out of the tables', reconcile('tables', options));
      options.signal.throwIfAborted();
      const waitMs = Math.min(REMOVAL_WAIT_MS, graceSecondsOf(container) * 1000);
      if (waitMs === 0 || !hasSuccessor(deps.cluster, deps.nodeName, container)) return;
      const version = Number(container.metadata.resourceVersion ?? 0);
      const asked = hasPeers
        ? attempt(container, 'wait for the tables of other nodes', deps.runtime.awaitPeers(version, waitMs))
        : undefined;
      const behind = (await asked) ?? [];
      if (behind.length > 0)
        deps.log.info({ container: container.metadata.name, peers: behind }, 'some nodes may still send it clients');
      await deps.clock.sleep(Math.min(LINGER_MS, waitMs), options.signal);
    },
  };
}
