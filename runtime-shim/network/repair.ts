// Compares the links on the host with the state and repairs what differs. Cheap enough to run on every hint.
import { kernelNames, type Instance } from '../../lib/instance.ts';
import { isNamespacePin } from '../host/mount.ts';
import type { NetlinkSocket } from '../host/netlink.ts';
import { addAddress, deleteAddress, listAddresses } from '../host/link-addresses.ts';
import { deleteLink, linkIndex, listLinks } from '../host/rtnetlink.ts';
import { ensureBridge, ensureEndpoint } from './links.ts';
import { ensureVxlan, isOverlay, syncEntries, type OverlaySpec } from './overlay.ts';
import { syncIngressRoutes } from './ingress-routes.ts';
import type { NetworkParts } from './parts.ts';
import { servicePlan, type NetworkState } from './state.ts';

export type RepairParts = Pick<NetworkParts, 'instance' | 'state' | 'links' | 'log' | 'tunnel'>;

export interface LinkRepair {
  /** What was made, joined or removed: names of links, or words. */
  readonly repaired: readonly string[];
}

/**
 * Makes links and addresses equal to the state. One broken network or sandbox keeps neither the others from being
 * repaired nor the shim from starting; it is tried again at the next look.
 */
export function repairLinks({ instance, state, links: socket, log, tunnel }: RepairParts): LinkRepair {
  const links = new Map(listLinks(socket, kernelNames.linkPrefix(instance)).map((link) => [link.name, link]));
  const repaired: string[] = [];
  // Before the networks that send through it; with the last of them it goes.
  links.delete(kernelNames.tunnel(instance));
  try {
    repaired.push(...[tunnel.sync() ?? []].flat());
  } catch (error) {
    log.warn({ err: error }, 'failed to repair the encryption between nodes, retrying');
  }
  for (const spec of state.networks.values()) {
    const name = kernelNames.bridge(instance, spec.id);
    const link = links.get(name);
    links.delete(name);
    links.delete(kernelNames.vxlan(instance, spec.id));
    try {
      ensureBridge(socket, instance, spec);
      if (!link?.isUp) repaired.push(name);
      if (isOverlay(spec)) repaired.push(...repairOverlay(instance, state, socket, spec));
    } catch (error) {
      log.warn({ network: spec.id, bridge: name, err: error }, 'failed to repair a network, retrying');
    }
  }
  for (const record of state.sandboxes.values()) {
    for (const endpoint of record.endpoints) {
      const spec = state.networks.get(endpoint.network);
      const link = links.get(endpoint.hostLink);
      links.delete(endpoint.hostLink);
      if (!spec || state.leaving.has(endpoint.hostLink)) continue;
      const bridge = kernelNames.bridge(instance, spec.id);
      const bridgeIndex = linkIndex(bridge);
      if (bridgeIndex === 0 || (link?.isUp && link.master === bridgeIndex)) continue;
      // After a reboot the pins are gone: the caller will detach these sandboxes.
      if (!isNamespacePin(record.netnsPath)) continue;
      try {
        ensureEndpoint(socket, record.netnsPath, bridge, endpoint, spec);
        repaired.push(endpoint.hostLink);
      } catch (error) {
        log.warn({ sandboxId: record.id, network: spec.id, err: error }, 'failed to repair a network interface');
      }
    }
  }
  for (const name of links.keys()) {
    if (state.leaving.has(name)) continue;
    deleteLink(socket, name);
    repaired.push(name);
  }
  syncVirtualIps(instance, state, socket);
  try {
    if (syncIngressRoutes(instance, state, socket) > 0) repaired.push('routing rules of the ingress network');
  } catch (error) {
    log.warn({ err: error }, 'failed to repair the routes of the ingress network, retrying');
  }
  return { repaired };
}

/** Makes the overlay's device and entries equal to the state; returns the device's name if that changed anything. */
export function repairOverlay(
  instance: Instance,
  state: NetworkState,
  socket: NetlinkSocket,
  spec: OverlaySpec,
): string[] {
  const isMade = ensureVxlan(socket, instance, spec);
  const changed = syncEntries(socket, instance, state, spec);
  return isMade || changed > 0 ? [kernelNames.vxlan(instance, spec.id)] : [];
}

/** Gives the bridges the virtual addresses of the services, so that they answer ARP for them, and takes old ones away. */
export function syncVirtualIps(instance: Instance, state: NetworkState, socket: NetlinkSocket): void {
  const wanted = servicePlan(instance, state).virtualIps;
  const gateways = new Set(
    [...state.networks.values()].flatMap(({ subnets }) => subnets.map(({ gateway }) => gateway)),
  );
  const bridges = new Map(
    [...state.networks.keys()].map((id) => {
      const name = kernelNames.bridge(instance, id);
      return [linkIndex(name), name];
    }),
  );
  const present = new Set<string>();
  for (const { linkIndex: index, ip, prefixLength } of listAddresses(socket)) {
    const bridge = bridges.get(index);
    if (bridge === undefined || prefixLength !== 32 || gateways.has(ip)) continue;
    if (wanted.get(ip) === bridge) present.add(ip);
    else deleteAddress(socket, index, ip, 32);
  }
  for (const [ip, bridge] of wanted) {
    const index = linkIndex(bridge);
    if (!present.has(ip) && index !== 0) addAddress(socket, index, { ip, prefixLength: 32 });
  }
}
