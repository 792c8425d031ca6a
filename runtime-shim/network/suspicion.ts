// Which of the kernel's messages about links can mean that somebody changed ours. Most are the echo of what this process
// did itself, and a look at every link of the node for each container would cost more than the container. Pure.
import { kernelNames, type Instance } from '../../lib/instance.ts';
import type { NetlinkMessage } from '../host/netlink.ts';
import { decodeNeighbour } from '../host/neighbours.ts';
import { decodeLink, isDeletedLink, isLinkMessage, type Link } from '../host/rtnetlink.ts';
import { isOverlay, wantedEntries, type OverlayEntries } from './overlay.ts';
import type { NetworkState } from './state.ts';
import { isEncrypted } from './tunnel.ts';

/** True when the messages tell of something that the state does not say. `indexOf` gives the index of a link. */
export function isSuspicious(
  instance: Instance,
  state: NetworkState,
  messages: readonly NetlinkMessage[],
  indexOf: (name: string) => number,
): boolean {
  const prefix = kernelNames.linkPrefix(instance);
  // A link passes through states on its way: only where it ended up counts.
  const last = new Map<string, { link: Link; isGone: boolean }>();
  for (const message of messages) {
    // An address or a routing rule came or went: rare enough to look.
    if (!isLinkMessage(message)) return true;
    const link = decodeLink(message);
    if (link.name.startsWith(prefix)) last.set(link.name, { link, isGone: isDeletedLink(message) });
  }
  if (last.size === 0) return false;
  const bridges = new Map([...state.networks.values()].map((spec) => [kernelNames.bridge(instance, spec.id), spec]));
  const tunnels = new Map(
    [...state.networks.values()].filter(isOverlay).map((spec) => [kernelNames.vxlan(instance, spec.id), spec]),
  );
  const bridgeOf = new Map(
    [...state.sandboxes.values()].flatMap(({ endpoints }) =>
      endpoints.map(({ hostLink, network }) => [hostLink, kernelNames.bridge(instance, network)] as const),
    ),
  );
  const isEncrypting = [...state.networks.values()].some(isEncrypted);
  for (const [name, { id }] of tunnels) bridgeOf.set(name, kernelNames.bridge(instance, id));
  return [...last.values()].some(({ link, isGone }) => {
    if (state.leaving.has(link.name)) return false;
    const spec = bridges.get(link.name);
    if (spec) return isGone || !link.isUp || link.mtu !== spec.mtu;
    if (link.name === kernelNames.tunnel(instance)) return isEncrypting ? isGone || !link.isUp : !isGone;
    if (link.mtu !== (tunnels.get(link.name)?.mtu ?? link.mtu)) return true;
    const bridge = bridgeOf.get(link.name);
    if (bridge === undefined) return !isGone;
    return isGone || !link.isUp || link.master !== indexOf(bridge);
  });
}

/** True when the messages tell of an entry of an overlay that is not as the state says, or that it does not say. */
export function isSuspiciousNeighbour(
  instance: Instance,
  state: NetworkState,
  messages: readonly NetlinkMessage[],
  indexOf: (name: string) => number,
): boolean {
  if (messages.length === 0) return false;
  const overlays = [...state.networks.values()].filter(isOverlay).map((spec) => ({
    device: indexOf(kernelNames.vxlan(instance, spec.id)),
    bridge: indexOf(kernelNames.bridge(instance, spec.id)),
    spec,
  }));
  const entriesOf = new Map<string, OverlayEntries>();
  return messages.some((message) => {
    const change = decodeNeighbour(message);
    const of = change && overlays.find((one) => one.device === change.linkIndex || one.bridge === change.linkIndex);
    if (!of) return false;
    let entries = entriesOf.get(of.spec.id);
    if (!entries) entriesOf.set(of.spec.id, (entries = wantedEntries(state, of.spec)));
    if (change.kind === 'neighbour') {
      const wanted = of.bridge === change.linkIndex ? entries.neighbours.get(change.address) : undefined;
      return wanted !== undefined && (change.isGone || wanted !== change.mac);
    }
    if (of.device !== change.linkIndex) return false;
    const host = entries.forwarding.get(change.mac);
    if (host === undefined) return change.isStatic && !change.isGone;
    return change.isGone || !change.isStatic || (!change.ofBridge && host !== change.address);
  });
}
