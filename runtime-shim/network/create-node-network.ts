// Composes the node's network: state and records, links, tables, ports, names.
import { join } from 'node:path';
import { reasonOf, WindlassError } from '../../lib/errors.ts';
import { readHostRoutes } from '../../lib/host-routes.ts';
import { kernelNames, paths, type Instance } from '../../lib/instance.ts';
import type { Logger } from '../../lib/log.ts';
import { forgetUdpFlows } from '../host/conntrack.ts';
import { openNfnetlink } from '../host/nfnetlink.ts';
import { deleteLink, linkIndex, listLinks, openRtnetlink } from '../host/rtnetlink.ts';
import { writeSysctl } from '../host/sysctl.ts';
import { createDepartures, withoutRights } from './departures.ts';
import { createNameServer } from './dns/name-server.ts';
import { ensureBridge, ensureEndpoint, ensureLoopback } from './links.ts';
import type { Attachment, IngressSpec, NetworkSpec, NodeNetwork, PublishedPort } from './node-network.ts';
import { syncIngressRoutes } from './ingress-routes.ts';
import { createLinkRemover } from './link-remover.ts';
import { describeShape, refuseTakenRoutes, validateNetwork, validateServices } from './network-spec.ts';
import { createPortTable } from './ports.ts';
import { openRecords, type EndpointRecord, type SandboxRecord } from './records.ts';
import { isOverlay } from './overlay.ts';
import { applyPeers } from './peers.ts';
import { repairLinks, repairOverlay, syncVirtualIps } from './repair.ts';
import { describeInterface, describeSandbox, planEndpoint, requireNetwork, requireSandbox } from './sandboxes.ts';
import { staleUdpFlows } from './service-plan.ts';
import { claimServicePorts, holderOf, reclaimServicePorts } from './service-ports.ts';
import {
  emptyState,
  ingressElements,
  nameServerElements,
  networkElements,
  peerElements,
  sandboxElements,
} from './state.ts';
import { requirePeerNumbers } from './marks.ts';
import type { TableElement } from './table.ts';
import { createTables } from './tables.ts';
import { watchDrift } from './watch-drift.ts';

export interface NodeNetworkOptions {
  readonly instance: Instance;
  readonly log: Logger;
  /** Resolvers for names outside; default: the host's resolv.conf. */
  readonly upstreamResolvers?: readonly string[];
}

/** The network of this node, over the kernel of the current net namespace. Call recover() before anything else. */
export function createNodeNetwork({ instance, log, upstreamResolvers }: NodeNetworkOptions): NodeNetwork {
  const state = emptyState();
  const records = openRecords(join(paths.shimState(instance), 'network'), (file, err) =>
    log.error({ file, err }, 'a network record is damaged: put aside'),
  );
  const links = openRtnetlink();
  const filter = openNfnetlink();
  const tables = createTables(instance, state, filter);
  const removeLink = createLinkRemover(instance, state.leaving);
  const ports = createPortTable();
  const lastAddress = new Map<string, number>();
  let trouble: string | undefined;
  const departures = createDepartures(log);
  let returnReserved: (networkId: string) => Promise<void> = () => Promise.resolve();
  const nameServer = createNameServer({
    state,
    log,
    ...(upstreamResolvers ? { upstreamResolvers } : {}),
    onOtherPort(gateway, protocol, port) {
      const before = nameServerElements(instance, state, gateway);
      state.nameServerPorts.set(gateway, { ...state.nameServerPorts.get(gateway), [protocol]: port });
      tables
        .settled()
        .then(() => {
          const now = nameServerElements(instance, state, gateway);
          tables.remove(minus(before, now));
          return tables.add(now);
        })
        .catch((err: unknown) => log.error({ gateway, err }, 'failed to redirect DNS questions'));
    },
  });

  const saveSandbox = (record: SandboxRecord): void => {
    records.saveSandbox(record);
    state.sandboxes.set(record.id, record);
  };
  const connect = (record: SandboxRecord, endpoint: EndpointRecord): void => {
    const spec = requireNetwork(state, endpoint.network);
    const bridge = kernelNames.bridge(instance, spec.id);
    // Made with the network and watched since: to look at all of its settings again is dearer than the endpoint.
    if (linkIndex(bridge) === 0) ensureBridge(links, instance, spec);
    ensureEndpoint(links, record.netnsPath, bridge, endpoint, spec);
  };
  /** Makes what the record says; on failure everything of the sandbox goes, so that a retry starts clean. */
  const realise = async (record: SandboxRecord): Promise<void> => {
    try {
      if (record.endpoints.length === 0) ensureLoopback(record.netnsPath);
      for (const endpoint of record.endpoints) connect(record, endpoint);
      await tables.add(sandboxElements(instance, state, record));
      forgetFlows(record.ports);
    } catch (error) {
      await forget(record);
      throw error;
    }
  };
  const removeEndpoint = ({ hostLink }: EndpointRecord): Promise<void> => removeLink(hostLink);
  /** Order: the record goes last, so that a crash in between leaves something to finish from. */
  const forget = (record: SandboxRecord): Promise<void> => {
    tables.remove(sandboxElements(instance, state, record));
    const rest = withoutRights(record);
    if (record.ports.length > 0) records.saveSandbox(rest);
    state.sandboxes.set(record.id, rest);
    forgetFlows(record.ports);
    ports.release(record.id);
    const rebuilds = tables.rebuilds();
    return departures.begin(record, async () => {
      await Promise.all(rest.endpoints.map(removeEndpoint));
      await tables.settled();
      // Only now is nobody left who answers to the addresses, which may be given out again.
      state.sandboxes.delete(record.id);
      // A table that was rebuilt in the meantime holds the elements again. (To remove in vain is dear: the kernel waits
      // for all readers of the tables before it gives up a transaction.)
      if (tables.rebuilds() !== rebuilds) tables.remove(sandboxElements(instance, state, rest));
      records.deleteSandbox(record.id);
    });
  };
  /** The record of a sandbox that is not on its way out; NotFound else. */
  const present = (sandboxId: string): SandboxRecord => {
    if (departures.has(sandboxId))
      throw new WindlassError('NotFound', `sandbox ${sandboxId} is not attached to any network any more`);
    return requireSandbox(state, sandboxId);
  };
  /** Waits for those who leave and has the ones kept ready removed; true when that can have freed an address. */
  const makeRoom = async (networkId: string): Promise<boolean> => {
    const hasLeft = await departures.settled();
    const reserved = [...state.sandboxes.values()].some(
      ({ isReserved, endpoints }) => isReserved && endpoints.some(({ network }) => network === networkId),
    );
    if (reserved) await returnReserved(networkId);
    await departures.settled();
    return hasLeft || reserved;
  };
  const planWithRoom = async (
    sandbox: Pick<SandboxRecord, 'id' | 'endpoints'>,
    attachment: Attachment,
  ): Promise<EndpointRecord> => {
    const plan = (): EndpointRecord => planEndpoint(instance, state, lastAddress, sandbox, attachment);
    try {
      return plan();
    } catch (error) {
      const isTaken = ['Unavailable', 'Conflict'].includes(reasonOf(error) ?? '');
      if (!isTaken || !(await makeRoom(attachment.network))) throw error;
      return plan();
    }
  };
  /** Clients that went on sending to a UDP port must notice that it leads elsewhere now. */
  const forgetFlows = (changed: readonly PublishedPort[]): void => {
    const nobody = new Set<string>();
    const published = changed.filter(({ protocol }) => protocol === 'UDP');
    forgetUdpFlows(filter, new Map(published.map(({ hostPort }) => [hostPort, nobody])));
  };
  const replaceRecord = async (before: SandboxRecord, after: SandboxRecord): Promise<void> => {
    const [old, wanted] = [before, after].map((record) => sandboxElements(instance, state, record));
    const keep = new Set(wanted?.map(({ set, words }) => `${set} ${words}`));
    saveSandbox(after);
    tables.remove(old?.filter(({ set, words }) => !keep.has(`${set} ${words}`)) ?? []);
    await tables.add(wanted ?? []);
    if (JSON.stringify(before.ports) !== JSON.stringify(after.ports)) forgetFlows([...before.ports, ...after.ports]);
  };

  /** Makes the change, of networks or of the ingress network, and what it means for the elements. */
  const followIngress = async (change: () => void): Promise<void> => {
    const before = ingressElements(instance, state);
    change();
    const after = ingressElements(instance, state);
    tables.remove(minus(before, after));
    await tables.add(minus(after, before));
  };
  const setIngress = async (ingress: IngressSpec | undefined): Promise<void> => {
    if (JSON.stringify(ingress) === JSON.stringify(state.ingress)) return;
    if (ingress) {
      const [subnet] = requireNetwork(state, ingress.network).subnets;
      requirePeerNumbers(
        subnet?.cidr ?? '',
        ingress.peers.map(({ ip }) => ip),
      );
    }
    await followIngress(() => void (state.ingress = ingress));
    syncIngressRoutes(instance, state, links);
  };

  return {
    async recover() {
      writeSysctl('net/ipv4/ip_forward', '1');
      for (const spec of records.loadNetworks()) state.networks.set(spec.id, spec);
      for (const { id, hosts, endpoints } of records.loadPeers())
        if (state.networks.has(id)) state.peers.set(id, { hosts, endpoints });
      for (const record of records.loadSandboxes()) {
        state.sandboxes.set(record.id, record);
        for (const { port, by } of ports.reclaim(record.id, record.label, record.ports))
          log.warn({ sandboxId: record.id, port: port.hostPort, holder: by }, 'a published port was taken meanwhile');
      }
      state.names = records.loadNames();
      const balancing = records.loadBalancing();
      state.services = balancing?.services ?? [];
      for (const service of state.services) reclaimServicePorts(ports, service);
      state.ingress = balancing?.ingress ?? undefined;
      repairLinks(instance, state, links, log);
      await tables.rebuild();
      nameServer.sync();
    },

    trouble: () => trouble,

    async run(signal) {
      const onTick = (): void => nameServer.sync();
      const onTrouble = (why: string | undefined): void => void (trouble = why);
      await watchDrift({ instance, state, links, tables, log, onTick, onTrouble }, signal);
      nameServer.close();
    },

    async ensureNetwork(spec) {
      // First, so that nobody comes between the questions and the answers.
      await tables.settled();
      validateNetwork(spec, [...state.networks.values()]);
      const before = state.networks.get(spec.id);
      // A range that this node loses may be another's soon: no address of it is kept for later.
      if (before && JSON.stringify(before) !== JSON.stringify(spec)) await makeRoom(spec.id);
      if (before && describeShape(before) !== describeShape(spec)) {
        const holder = [...state.sandboxes.values()].find(({ endpoints }) =>
          endpoints.some(({ network }) => network === spec.id),
        );
        if (holder)
          throw new WindlassError('Conflict', `network ${spec.id} cannot change while ${holder.label} uses it`);
      }
      if (linkIndex(kernelNames.bridge(instance, spec.id)) === 0)
        refuseTakenRoutes(spec, readHostRoutes(kernelNames.linkPrefix(instance)));
      if (!before || JSON.stringify(before) !== JSON.stringify(spec)) records.saveNetwork(spec);
      await followIngress(() => void state.networks.set(spec.id, spec));
      const bridge = ensureBridge(links, instance, spec);
      const elementsOf = (one: NetworkSpec): TableElement[] => [
        ...networkElements(instance, one),
        ...peerElements(instance, one, state.peers.get(spec.id)),
      ];
      if (before) tables.remove(minus(elementsOf(before), elementsOf(spec)));
      // Before the device, which takes in what reaches it.
      await tables.add(elementsOf(spec));
      if (isOverlay(spec)) repairOverlay(instance, state, links, spec);
      syncVirtualIps(instance, state, links);
      if (state.ingress?.network === spec.id) syncIngressRoutes(instance, state, links);
      nameServer.sync();
      return { bridge };
    },

    async setPeers(networkId, peers) {
      await tables.settled();
      const replaceElements = async (old: TableElement[], wanted: TableElement[]): Promise<void> => {
        tables.remove(minus(old, wanted));
        await tables.add(minus(wanted, old));
      };
      await applyPeers({ instance, state, records, links, replaceElements }, networkId, peers);
    },

    async removeNetwork(networkId) {
      await tables.settled();
      const spec = state.networks.get(networkId);
      if (!spec) return;
      await makeRoom(networkId);
      const user = [...state.sandboxes.values()].find(({ endpoints }) =>
        endpoints.some(({ network }) => network === networkId),
      );
      if (user) throw new WindlassError('Conflict', `network ${networkId} is in use by ${user.label}`);
      // What can fail comes first: whoever asks again must still find the network.
      if (isOverlay(spec)) deleteLink(links, kernelNames.vxlan(instance, networkId));
      deleteLink(links, kernelNames.bridge(instance, networkId));
      await followIngress(() => void state.networks.delete(networkId));
      lastAddress.delete(networkId);
      nameServer.sync();
      tables.remove([...networkElements(instance, spec), ...peerElements(instance, spec, state.peers.get(networkId))]);
      state.peers.delete(networkId);
      records.deleteNetwork(networkId);
      if (state.ingress?.network === networkId) syncIngressRoutes(instance, state, links);
      await tables.syncServices();
    },

    listNetworks: () => [...state.networks.values()],

    async attachSandbox(sandboxId, netnsPath, attachments, wantedPorts, label) {
      if (departures.has(sandboxId)) await departures.settled();
      await tables.settled();
      const existing = state.sandboxes.get(sandboxId);
      if (existing) {
        const record = { ...existing, netnsPath };
        saveSandbox(record);
        await realise(record);
        return describeSandbox(record);
      }
      const endpoints: EndpointRecord[] = [];
      for (const attachment of attachments)
        endpoints.push(await planWithRoom({ id: sandboxId, endpoints }, attachment));
      const claimed = ports.claim(sandboxId, label, wantedPorts);
      const record: SandboxRecord = { id: sandboxId, label, netnsPath, endpoints, ports: claimed };
      try {
        saveSandbox(record);
      } catch (error) {
        // Without a record nobody would give them back.
        ports.release(sandboxId);
        throw error;
      }
      await realise(record);
      return describeSandbox(record);
    },

    async reserveSandbox(sandboxId, netnsPath, networkId) {
      await tables.settled();
      const endpoint = planEndpoint(
        instance,
        state,
        lastAddress,
        { id: sandboxId, endpoints: [] },
        {
          network: networkId,
          names: [],
        },
      );
      const label = 'a sandbox that is kept ready';
      const record: SandboxRecord = {
        id: sandboxId,
        label,
        netnsPath,
        endpoints: [endpoint],
        ports: [],
        isReserved: true,
      };
      saveSandbox(record);
      await realise(record);
    },

    async adoptSandbox(sandboxId, names, wantedPorts, label) {
      await tables.settled();
      const { isReserved: _, ...before } = present(sandboxId);
      const claimed = ports.claim(sandboxId, label, wantedPorts);
      const endpoints = before.endpoints.map((endpoint) => ({ ...endpoint, names }));
      const after: SandboxRecord = { ...before, label, endpoints, ports: claimed };
      await replaceRecord(before, after);
      return describeSandbox(after);
    },

    onReservedInTheWay(listener) {
      returnReserved = listener;
    },

    listSandboxes: () => [...state.sandboxes.keys()].filter((id) => !departures.has(id)),

    async detachSandbox(sandboxId) {
      await tables.settled();
      const record = state.sandboxes.get(sandboxId);
      if (record && !departures.has(sandboxId)) void forget(record);
    },

    async attachNetwork(sandboxId, attachment) {
      await tables.settled();
      const before = present(sandboxId);
      const existing = before.endpoints.find(({ network }) => network === attachment.network);
      const endpoint = existing ?? (await planWithRoom(before, attachment));
      const after = existing ? before : { ...before, endpoints: [...before.endpoints, endpoint] };
      saveSandbox(after);
      try {
        connect(after, endpoint);
        await replaceRecord(before, after);
      } catch (error) {
        if (!existing) {
          await removeEndpoint(endpoint);
          await replaceRecord(after, before);
        }
        throw error;
      }
      return describeInterface(endpoint);
    },

    async detachNetwork(sandboxId, networkId) {
      await tables.settled();
      const before = departures.has(sandboxId) ? undefined : state.sandboxes.get(sandboxId);
      const endpoint = before?.endpoints.find(({ network }) => network === networkId);
      // One that leaves takes all its endpoints along; to change its record now would bring it back.
      if (!before || !endpoint || departures.has(sandboxId)) return;
      await removeEndpoint(endpoint);
      await replaceRecord(before, { ...before, endpoints: before.endpoints.filter((other) => other !== endpoint) });
    },

    async updatePorts(sandboxId, wantedPorts) {
      await tables.settled();
      const before = present(sandboxId);
      const claimed = ports.claim(sandboxId, before.label, wantedPorts);
      try {
        await replaceRecord(before, { ...before, ports: claimed });
      } catch (error) {
        ports.release(sandboxId, present(sandboxId).ports);
        throw error;
      }
      ports.release(sandboxId, claimed);
      return claimed;
    },

    sandboxStatus(sandboxId) {
      const record = departures.has(sandboxId) ? undefined : state.sandboxes.get(sandboxId);
      return record && describeSandbox(record);
    },

    async setServices(services, ingress) {
      validateServices(services, ingress);
      await tables.settled();
      await setIngress(ingress);
      const before = state.services;
      const claimed = claimServicePorts(ports, before, services);
      state.services = claimed.services;
      records.saveBalancing({ id: 'balancing', services: state.services, ingress: ingress ?? null });
      syncVirtualIps(instance, state, links);
      await tables.syncServices();
      forgetUdpFlows(filter, staleUdpFlows(before, state.services));
      return claimed.conflicts;
    },

    setNames(names) {
      state.names = names;
      records.saveNames(names);
    },

    async purge() {
      nameServer.close();
      await departures.settled();
      for (const id of state.sandboxes.keys()) ports.release(id);
      for (const { id } of state.services) ports.release(holderOf(id));
      state.sandboxes.clear();
      state.networks.clear();
      state.peers.clear();
      state.services = [];
      state.ingress = undefined;
      syncIngressRoutes(instance, state, links);
      for (const { name } of listLinks(links, kernelNames.linkPrefix(instance))) deleteLink(links, name);
      await tables.destroy();
      records.purge();
    },
  };
}

function minus(items: readonly TableElement[], others: readonly TableElement[]): TableElement[] {
  const keyOf = ({ set, words }: TableElement): string => `${set} ${words}`;
  const keys = new Set(others.map(keyOf));
  return items.filter((item) => !keys.has(keyOf(item)));
}
