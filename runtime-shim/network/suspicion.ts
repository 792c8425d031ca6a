// Which of the kernel's messages about links can mean that somebody changed ours. Most are the echo of what this process
// did itself, and a look at every link of the node for each container would cost more than the container. Pure.
import { kernelNames, type Instance } from '../../lib/instance.ts';
import type { NetlinkMessage } from '../host/netlink.ts';
import { decodeLink, isDeletedLink, isLinkMessage, type Link } from '../host/rtnetlink.ts';
import type { NetworkState } from './state.ts';

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
    // An address came or went: rare enough to look.
    if (!isLinkMessage(message)) return true;
    const link = decodeLink(message);
    if (link.name.startsWith(prefix)) last.set(link.name, { link, isGone: isDeletedLink(message) });
  }
  if (last.size === 0) return false;
  const bridges = new Map([...state.networks.values()].map((spec) => [kernelNames.bridge(instance, spec.id), spec]));
  const bridgeOf = new Map(
    [...state.sandboxes.values()].flatMap(({ endpoints }) =>
      endpoints.map(({ hostLink, network }) => [hostLink, kernelNames.bridge(instance, network)] as const),
    ),
  );
  return [...last.values()].some(({ link, isGone }) => {
    if (state.leaving.has(link.name)) return false;
    const spec = bridges.get(link.name);
    if (spec) return isGone || !link.isUp || link.mtu !== spec.mtu;
    const bridge = bridgeOf.get(link.name);
    if (bridge === undefined) return !isGone;
    return isGone || !link.isUp || link.master !== indexOf(bridge);
  });
}
