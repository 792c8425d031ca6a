// What makes a bridge network one over all nodes: a VXLAN device in its bridge, and one forwarding and one neighbour entry
// per endpoint elsewhere. All that a container asks for is answered on its own node; no broadcast leaves.
import { isIPv6 } from 'node:net';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { kernelNames, type Instance } from '../../lib/instance.ts';
import { ipv6Of } from '../../lib/ipv6.ts';
import { linkOfAddress } from '../../lib/node-address.ts';
import {
  listForwarding,
  listNeighbours,
  removeForwarding,
  removeNeighbours,
  setForwarding,
  setNeighbours,
} from '../host/neighbours.ts';
import type { NetlinkSocket } from '../host/netlink.ts';
import { deleteLink, linkIndex, listLinks, openRtnetlink, setLinkMtu } from '../host/rtnetlink.ts';
import { writeSysctl } from '../host/sysctl.ts';
import { createVxlan, joinVxlan, listVxlans } from '../host/vxlan.ts';
import { macOf } from './mac.ts';
import type { NetworkOverlay, NetworkSpec, OverlayPeers } from './node-network.ts';
import type { NetworkState } from './state.ts';
import { isEncrypted, LEAST_TUNNEL_MTU, VXLAN_OVER_IPV6 } from './tunnel.ts';

export type OverlaySpec = NetworkSpec & { readonly overlay: NetworkOverlay };

export const isOverlay = (spec: NetworkSpec): spec is OverlaySpec => spec.overlay !== undefined;

/** Outer IP and UDP header, VXLAN header and the inner Ethernet header. */
const OVERHEAD = { ipv4: 20 + 8 + 8 + 14, ipv6: 40 + 8 + 8 + 14 } as const;

/** What encryption adds: outer IP and UDP header, header and tag of WireGuard. */
const SEAL = { ipv4: 20 + 8 + 16 + 16, ipv6: 40 + 8 + 16 + 16 } as const;

/**
 * The largest packet that fits into one packet of the underlay. Throws Invalid when `wanted` (0 = as large as can be) is
 * larger, or when no link of this host has the address.
 */
export function overlayMtu(underlayIp: string, wanted: number, { isEncrypted = false } = {}): number {
  using socket = openRtnetlink();
  // An address with a label comes under that: `eth0:1`.
  const name = linkOfAddress(underlayIp)?.replace(/:.*/, '');
  const uplink = name === undefined ? undefined : listLinks(socket, name).find((link) => link.name === name);
  if (!uplink)
    throw new WindlassError('Invalid', `no link of this host that is up has the address ${underlayIp} of the node`);
  const family = isIPv6(underlayIp) ? 'ipv6' : 'ipv4';
  if (!isEncrypted) return fitMtu(uplink, OVERHEAD[family], wanted);
  const least = LEAST_TUNNEL_MTU + SEAL[family];
  if (uplink.mtu < least)
    throw new WindlassError(
      'Invalid',
      `${uplink.name} has an MTU of ${uplink.mtu}, encryption needs at least ${least}`,
    );
  return fitMtu(uplink, SEAL[family] + VXLAN_OVER_IPV6, wanted);
}

/** See overlayMtu(). Pure. */
export function fitMtu(
  uplink: { readonly name: string; readonly mtu: number },
  overhead: number,
  wanted: number,
): number {
  // No link takes more than 65535, and loopback has 65536.
  const most = Math.min(uplink.mtu, 65_535) - overhead;
  if (wanted <= most) return wanted === 0 ? most : wanted;
  throw new WindlassError(
    'Invalid',
    `mtu ${wanted} does not fit: ${uplink.name} has an MTU of ${uplink.mtu} and VXLAN takes ${overhead}, want at most ${most}`,
  );
}

/**
 * Makes the network's VXLAN device, in its bridge and up, and returns whether there was anything to do. Conflict names
 * the device that has the VNI; Unavailable when the kernel has no VXLAN.
 */
export function ensureVxlan(socket: NetlinkSocket, instance: Instance, spec: OverlaySpec): boolean {
  const name = kernelNames.vxlan(instance, spec.id);
  const bridge = linkIndex(kernelNames.bridge(instance, spec.id));
  const { vni, port, underlayIp, encryption } = spec.overlay;
  const local = encryption?.ip ?? underlayIp;
  const all = listVxlans(socket);
  const present = all.find((link) => link.name === name);
  const isSame =
    present !== undefined &&
    present.vni === vni &&
    present.port === port &&
    present.local === local &&
    !present.isLearning;
  if (!isSame) {
    deleteLink(socket, name);
    try {
      createVxlan(socket, name, { vni, port, local, mac: macOf(`${instance.id}/${spec.id}/vxlan`), mtu: spec.mtu });
    } catch (error) {
      if (errnoOf(error) === 'EOPNOTSUPP')
        throw new WindlassError('Unavailable', 'the kernel has no VXLAN (CONFIG_VXLAN)', { cause: error });
      if (errnoOf(error) !== 'EEXIST') throw error;
      const holder = all.find((link) => link.vni === vni && link.port === port)?.name ?? 'another device';
      throw new WindlassError('Conflict', `VNI ${vni} on UDP port ${port} is in use by ${holder} of this host`, {
        cause: error,
      });
    }
  } else if (present.mtu !== spec.mtu) setLinkMtu(socket, present.index, spec.mtu);
  // Before it is up: it would announce an address of its own to nobody.
  writeSysctl(`net/ipv6/conf/${name}/disable_ipv6`, '1', { optional: true });
  joinVxlan(socket, name, bridge, spec.isolated);
  return !isSame || !present.isUp || present.master !== bridge;
}

/** Entries that a node has for the endpoints elsewhere: MAC -> host, and address -> MAC. */
export interface OverlayEntries {
  readonly forwarding: ReadonlyMap<string, string>;
  readonly neighbours: ReadonlyMap<string, string>;
}

/** What the peers need. What an endpoint of this node has is not sent elsewhere, whatever a peer says. Pure. */
export function planEntries(
  peers: OverlayPeers,
  local: { readonly macs: ReadonlySet<string>; readonly ips: ReadonlySet<string> },
): OverlayEntries {
  const forwarding = new Map<string, string>();
  const neighbours = new Map<string, string>();
  for (const { ip, mac, host } of peers.endpoints) {
    if (local.macs.has(mac) || local.ips.has(ip)) continue;
    forwarding.set(mac, host);
    neighbours.set(ip, mac);
  }
  return { forwarding, neighbours };
}

/** What to set and what to remove to come from `present` to `wanted`. Pure. */
export function diffEntries(
  wanted: ReadonlyMap<string, string>,
  present: ReadonlyMap<string, string>,
): { readonly set: readonly (readonly [string, string])[]; readonly remove: readonly string[] } {
  return {
    set: [...wanted].filter(([key, value]) => present.get(key) !== value),
    remove: [...present.keys()].filter((key) => !wanted.has(key)),
  };
}

/** The entries that belong to the network now. */
export function wantedEntries(state: NetworkState, spec: OverlaySpec): OverlayEntries {
  const { underlayIp, nodeIp, nodeMac } = spec.overlay;
  const own = [...state.sandboxes.values()]
    .flatMap((sandbox) => sandbox.endpoints)
    .filter(({ network }) => network === spec.id);
  const { hosts = [], endpoints = [], tunnels = [] } = state.peers.get(spec.id) ?? {};
  // Until the peers are declared anew, those of a node that went over to the other family can not be reached.
  // Nor has a bridge without IPv6 any use for a neighbour's address.
  const reachable = endpoints.filter(
    ({ ip, host }) => isIPv6(host) === isIPv6(underlayIp) && (spec.ipv6 !== undefined || !isIPv6(ip)),
  );
  const inTunnel = new Map(tunnels.map(({ host, ip }) => [host, ip]));
  const sealed = reachable.flatMap(({ host, ...rest }) =>
    [inTunnel.get(host) ?? []].flat().map((ip) => ({ ...rest, host: ip })),
  );
  return planEntries(
    { hosts, endpoints: isEncrypted(spec) ? sealed : reachable },
    {
      macs: new Set([nodeMac, ...own.map(({ macAddress }) => macAddress.toLowerCase())]),
      ips: new Set([
        nodeIp,
        ...spec.subnets.map(({ gateway }) => gateway),
        ...own.map(({ ipv4Address }) => ipv4Address),
        ...(spec.ipv6 ? [spec.ipv6.gateway, ipv6Of(spec.ipv6.pool, nodeIp)] : []),
        ...own.flatMap(({ ipv6 }) => (ipv6 ? [ipv6.address] : [])),
      ]),
    },
  );
}

/**
 * Makes the kernel's entries equal to the state; returns how many it changed. With `before`, what the state said when they
 * were equal last, the kernel is not asked for what it has: a change of one among thousands costs no more than one.
 */
export function syncEntries(
  socket: NetlinkSocket,
  instance: Instance,
  state: NetworkState,
  spec: OverlaySpec,
  before?: OverlayEntries,
): number {
  const device = linkIndex(kernelNames.vxlan(instance, spec.id));
  const bridge = linkIndex(kernelNames.bridge(instance, spec.id));
  if (device === 0 || bridge === 0) return 0;
  const wanted = wantedEntries(state, spec);
  const present = before ?? readEntries(socket, { device, bridge }, wanted);
  const forwarding = diffEntries(wanted.forwarding, present.forwarding);
  const neighbours = diffEntries(wanted.neighbours, present.neighbours);
  removeForwarding(socket, device, forwarding.remove);
  removeNeighbours(socket, bridge, neighbours.remove);
  setForwarding(
    socket,
    device,
    forwarding.set.map(([mac, host]) => ({ mac, host })),
  );
  setNeighbours(
    socket,
    bridge,
    neighbours.set.map(([ip, mac]) => ({ ip, mac })),
  );
  return [forwarding, neighbours].reduce((sum, { set, remove }) => sum + set.length + remove.length, 0);
}

/** An entry counts as present when both the device and the bridge have it; one that either has is removed from both. */
function readEntries(
  socket: NetlinkSocket,
  links: { readonly device: number; readonly bridge: number },
  wanted: OverlayEntries,
): OverlayEntries {
  const { own, bridged } = listForwarding(socket, links.device);
  const forwarding = new Map([...own].filter(([mac]) => bridged.has(mac) || !wanted.forwarding.has(mac)));
  for (const mac of bridged) if (!own.has(mac) && !wanted.forwarding.has(mac)) forwarding.set(mac, '');
  return { forwarding, neighbours: listNeighbours(socket, links.bridge) };
}
