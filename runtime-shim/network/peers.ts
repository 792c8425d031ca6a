// What an overlay has on other nodes, as its callers declare it: recorded, let in by the packet filter, then sent to.
import { isIPv6 } from 'node:net';
import { WindlassError } from '../../lib/errors.ts';
import type { Instance } from '../../lib/instance.ts';
import type { NetlinkSocket } from '../host/netlink.ts';
import { validatePeers } from './network-spec.ts';
import type { OverlayPeers } from './node-network.ts';
import { isOverlay, syncEntries, wantedEntries } from './overlay.ts';
import type { NetworkRecords } from './records.ts';
import { requireNetwork } from './sandboxes.ts';
import { peerElements, type NetworkState } from './state.ts';
import type { TableElement } from './table-elements.ts';
import { isEncrypted, type Tunnel } from './tunnel.ts';

export interface PeersDeps {
  readonly instance: Instance;
  readonly state: NetworkState;
  readonly records: Pick<NetworkRecords, 'savePeers'>;
  readonly links: NetlinkSocket;
  readonly tunnel: Pick<Tunnel, 'sync'>;
  readonly replaceElements: (old: TableElement[], wanted: TableElement[]) => Promise<void>;
}

/** See NodeNetwork.setPeers(). */
export async function applyPeers(deps: PeersDeps, networkId: string, peers: OverlayPeers): Promise<void> {
  const { instance, state, records, links } = deps;
  const spec = requireNetwork(state, networkId);
  if (!isOverlay(spec)) throw new WindlassError('Invalid', `network ${networkId} is no overlay`);
  validatePeers(networkId, peers);
  const { underlayIp } = spec.overlay;
  const stranger = peers.hosts.find((host) => isIPv6(host) !== isIPv6(underlayIp));
  if (stranger !== undefined)
    throw new WindlassError(
      'Invalid',
      `peers of network ${networkId}: ${stranger} is not of the family of ${underlayIp}`,
    );
  if (!isEncrypted(spec) && peers.tunnels?.length)
    throw new WindlassError('Invalid', `peers of network ${networkId}: it is not encrypted, but they have keys`);
  const before = state.peers.get(networkId);
  if (before && JSON.stringify(before) === JSON.stringify(peers)) return;
  const entries = wantedEntries(state, spec);
  const elements = peerElements(instance, spec, before);
  records.savePeers({ id: networkId, ...peers });
  state.peers.set(networkId, peers);
  await deps.replaceElements(elements, peerElements(instance, spec, peers));
  if (isEncrypted(spec)) deps.tunnel.sync({ withEndpoints: true });
  try {
    syncEntries(links, instance, state, spec, entries);
  } catch {
    // What somebody else did in between is no reason to fail: look at what is there.
    syncEntries(links, instance, state, spec);
  }
}
