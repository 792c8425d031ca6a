// The calls of NodeNetwork that are about networks: make or change one, tell what it has on other nodes, remove it.
import { WindlassError } from '../../lib/errors.ts';
import { readHostRoutes, readIpv6HostRoutes } from '../../lib/host-routes.ts';
import { kernelNames } from '../../lib/instance.ts';
import { deleteLink, linkIndex } from '../host/rtnetlink.ts';
import type { EndpointPlanner } from './endpoint-planner.ts';
import { syncIngressRoutes } from './ingress-routes.ts';
import type { Ingress } from './ingress.ts';
import { ensureBridge } from './links.ts';
import { describeShape, refuseTakenIpv6Routes, refuseTakenRoutes, validateNetwork } from './network-spec.ts';
import type { NetworkSpec, NodeNetwork } from './node-network.ts';
import { isOverlay } from './overlay.ts';
import type { NetworkParts } from './parts.ts';
import { applyPeers } from './peers.ts';
import { repairOverlay, syncVirtualIps } from './repair.ts';
import { minus, replaceElements } from './replace-elements.ts';
import { networkElements, peerElements } from './state.ts';
import type { TableElement } from './table-elements.ts';
import { isEncrypted } from './tunnel.ts';

export interface NetworkCallsDeps {
  readonly parts: NetworkParts;
  readonly planner: Pick<EndpointPlanner, 'makeRoom' | 'forgetNetwork'>;
  readonly ingress: Pick<Ingress, 'follow'>;
  /** Makes the name server listen where the networks are. */
  readonly syncNameServer: () => void;
}

export type NetworkCalls = Pick<NodeNetwork, 'ensureNetwork' | 'setPeers' | 'removeNetwork' | 'listNetworks'>;

export function createNetworkCalls({ parts, planner, ingress, syncNameServer }: NetworkCallsDeps): NetworkCalls {
  const { instance, state, records, links, tables, tunnel } = parts;
  /** The label of a sandbox that is on the network. */
  const userOf = (networkId: string): string | undefined =>
    [...state.sandboxes.values()].find(({ endpoints }) => endpoints.some(({ network }) => network === networkId))
      ?.label;
  const elementsOf = (spec: NetworkSpec): TableElement[] => [
    ...networkElements(instance, spec),
    ...peerElements(instance, spec, state.peers.get(spec.id)),
  ];

  return {
    async ensureNetwork(spec) {
      // First, so that nobody comes between the questions and the answers.
      await tables.settled();
      validateNetwork(spec, [...state.networks.values()]);
      const lacks = isEncrypted(spec) ? tunnel.lacks() : undefined;
      if (lacks !== undefined)
        throw new WindlassError('Unavailable', `network ${spec.id} cannot be encrypted: ${lacks}`);
      const before = state.networks.get(spec.id);
      const differs = !before || JSON.stringify(before) !== JSON.stringify(spec);
      // A range that this node loses may be another's soon: no address of it is kept for later.
      if (before && differs) await planner.makeRoom(spec.id);
      if (before && describeShape(before) !== describeShape(spec)) {
        const user = userOf(spec.id);
        if (user !== undefined)
          throw new WindlassError('Conflict', `network ${spec.id} cannot change while ${user} uses it`);
      }
      if (linkIndex(kernelNames.bridge(instance, spec.id)) === 0) {
        const own = kernelNames.linkPrefix(instance);
        refuseTakenRoutes(spec, readHostRoutes(own));
        if (spec.ipv6) refuseTakenIpv6Routes(spec.ipv6.cidr, readIpv6HostRoutes(own));
      }
      if (differs) records.saveNetwork(spec);
      await ingress.follow(() => void state.networks.set(spec.id, spec));
      const bridge = ensureBridge(links, instance, spec);
      if (before) tables.remove(minus(elementsOf(before), elementsOf(spec)));
      // Before the device, which takes in what reaches it.
      await tables.add(elementsOf(spec));
      if (isEncrypted(spec)) tunnel.sync({ withEndpoints: true });
      if (isOverlay(spec)) repairOverlay(instance, state, links, spec);
      syncVirtualIps(instance, state, links);
      if (state.ingress?.network === spec.id) syncIngressRoutes(instance, state, links);
      // Services may have been told before the network was there.
      if (!before) await tables.syncServices();
      syncNameServer();
      return { bridge };
    },

    async setPeers(networkId, peers) {
      await tables.settled();
      const replace = (old: TableElement[], wanted: TableElement[]): Promise<void> =>
        replaceElements(tables, old, wanted);
      await applyPeers({ instance, state, records, links, tunnel, replaceElements: replace }, networkId, peers);
    },

    async removeNetwork(networkId) {
      await tables.settled();
      const spec = state.networks.get(networkId);
      if (!spec) return;
      await planner.makeRoom(networkId);
      const user = userOf(networkId);
      if (user !== undefined) throw new WindlassError('Conflict', `network ${networkId} is in use by ${user}`);
      // What can fail comes first: whoever asks again must still find the network.
      if (isOverlay(spec)) deleteLink(links, kernelNames.vxlan(instance, networkId));
      deleteLink(links, kernelNames.bridge(instance, networkId));
      await ingress.follow(() => void state.networks.delete(networkId));
      planner.forgetNetwork(networkId);
      syncNameServer();
      tables.remove(elementsOf(spec));
      state.peers.delete(networkId);
      records.deleteNetwork(networkId);
      tunnel.sync({ withEndpoints: true });
      if (state.ingress?.network === networkId) syncIngressRoutes(instance, state, links);
      await tables.syncServices();
    },

    listNetworks: () => [...state.networks.values()],
  };
}
