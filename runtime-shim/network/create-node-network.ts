// Composes the node's network: state and records, links, tables, ports, names.
import { join } from 'node:path';
import { kernelNames, paths, type Instance } from '../../lib/instance.ts';
import type { Logger } from '../../lib/log.ts';
import { forgetUdpFlows } from '../host/conntrack.ts';
import { openNfnetlink } from '../host/nfnetlink.ts';
import { deleteLink, listLinks, openRtnetlink } from '../host/rtnetlink.ts';
import { writeSysctl } from '../host/sysctl.ts';
import { createDepartures } from './departures.ts';
import { createNameServer, type NameServer } from './dns/name-server.ts';
import { createEndpointPlanner } from './endpoint-planner.ts';
import { createIngress } from './ingress.ts';
import { syncIngressRoutes } from './ingress-routes.ts';
import { createNetworkCalls } from './network-calls.ts';
import { validateServices } from './network-spec.ts';
import type { NodeNetwork } from './node-network.ts';
import type { NetworkParts } from './parts.ts';
import { createPortTable } from './ports.ts';
import { openRecords } from './records.ts';
import { createRelays } from './relays.ts';
import { repairLinks, syncVirtualIps } from './repair.ts';
import { minus } from './replace-elements.ts';
import { createSandboxCalls } from './sandbox-calls.ts';
import { hasIpv6 } from './sandboxes.ts';
import { createSandboxChanges } from './sandbox-changes.ts';
import { servingBackends, staleUdpFlows } from './service-plan.ts';
import { claimServicePorts, holderOf, reclaimServicePorts } from './service-ports.ts';
import { emptyState, nameServerElements, reachability } from './state.ts';
import { createTables } from './tables.ts';
import { createTunnel, isEncrypted } from './tunnel.ts';
import { watchDrift } from './watch-drift.ts';
import { createPeerWatch } from './watch-peers.ts';

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
  const ports = createPortTable();
  const relays = createRelays({ servingBackends: (port) => servingBackends(port, reachability(state)), log });
  state.relays = relays.ports;
  const peerWatch = createPeerWatch({ state, tables, filter, log });
  let told = '';
  const departures = createDepartures(log);
  const keyFile = join(paths.shimState(instance), 'network', 'tunnel-key.json');
  const tunnel = createTunnel({ instance, state, links, keyFile });
  const parts: NetworkParts = { instance, log, state, records, links, filter, tables, ports, departures, tunnel };
  const planner = createEndpointPlanner(parts);
  const ingress = createIngress(parts);
  const nameServer = openNameServer(parts, upstreamResolvers);
  let trouble: string | undefined;

  return {
    async recover() {
      writeSysctl('net/ipv4/ip_forward', '1');
      readRecords(parts);
      await relays.sync(state.services);
      // What must not leave in the clear is known to the tables before a device sends it.
      if ([...state.networks.values()].some(isEncrypted)) await tables.rebuild();
      repairLinks(parts);
      await tables.rebuild();
      nameServer.sync();
    },

    trouble: () => trouble,

    encryption() {
      const lacks = tunnel.lacks();
      return lacks === undefined ? { publicKey: tunnel.publicKey() } : { lacks };
    },

    probes: peerWatch.counts,
    relays: relays.counts,

    async run(signal) {
      const onTick = (): void => nameServer.sync();
      const onTrouble = (why: string | undefined): void => void (trouble = why);
      await Promise.all([watchDrift({ ...parts, onTick, onTrouble }, signal), peerWatch.run(signal)]);
      relays.close();
      nameServer.close();
    },

    ...createNetworkCalls({ parts, planner, ingress, syncNameServer: () => nameServer.sync() }),
    ...createSandboxCalls(parts, planner, createSandboxChanges(parts)),
    onReservedInTheWay: (listener) => planner.onReservedInTheWay(listener),

    async setServices(services, wantedIngress, revision = 0) {
      validateServices(services, wantedIngress);
      const text = JSON.stringify([services, wantedIngress]);
      if (text === told) {
        peerWatch.tell(revision);
        return [];
      }
      await tables.settled();
      told = '';
      await ingress.set(wantedIngress);
      const before = state.services;
      const claimed = claimServicePorts(ports, before, services);
      state.services = claimed.services;
      records.saveBalancing({ id: 'balancing', services: state.services, ingress: wantedIngress ?? null });
      syncVirtualIps(instance, state, links);
      await relays.sync(state.services);
      await tables.syncServices();
      forgetUdpFlows(filter, staleUdpFlows(before, state.services));
      peerWatch.tell(revision);
      // A port that somebody has may be free at the next try.
      told = claimed.conflicts.length > 0 ? '' : text;
      return claimed.conflicts;
    },

    awaitPeers: peerWatch.awaitPeers,

    setNames(names) {
      state.names = names;
      records.saveNames(names);
    },

    async purge() {
      relays.close();
      nameServer.close();
      await departures.settled();
      for (const id of state.sandboxes.keys()) ports.release(id);
      for (const { id } of state.services) ports.release(holderOf(id));
      state.sandboxes.clear();
      state.networks.clear();
      state.peers.clear();
      state.services = [];
      told = '';
      state.ingress = undefined;
      syncIngressRoutes(instance, state, links);
      for (const { name } of listLinks(links, kernelNames.linkPrefix(instance))) deleteLink(links, name);
      await tables.destroy();
      records.purge();
    },
  };
}

/** Fills the state from what is on disk and takes the ports again. */
function readRecords({ state, records, ports, log }: NetworkParts): void {
  for (const spec of records.loadNetworks()) state.networks.set(spec.id, spec);
  for (const { id, ...peers } of records.loadPeers()) if (state.networks.has(id)) state.peers.set(id, peers);
  for (const record of records.loadSandboxes()) {
    state.sandboxes.set(record.id, record);
    for (const { port, by } of ports.reclaim(record.id, record.label, record.ports, hasIpv6(record.endpoints)))
      log.warn({ sandboxId: record.id, port: port.hostPort, holder: by }, 'a published port was taken meanwhile');
  }
  state.names = records.loadNames();
  const balancing = records.loadBalancing();
  state.services = balancing?.services ?? [];
  for (const service of state.services) reclaimServicePorts(ports, service);
  state.ingress = balancing?.ingress ?? undefined;
}

/** The name server; where it cannot have port 53 of a gateway, questions are led to the port it has. */
function openNameServer(parts: NetworkParts, upstreamResolvers: readonly string[] | undefined): NameServer {
  const { instance, state, tables, log } = parts;
  return createNameServer({
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
}
