// What encrypts between nodes: one WireGuard device per node, which every encrypted network sends through. Its peers are
// the nodes of those networks; what has no peer there goes nowhere.
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { kernelNames, type Instance } from '../../lib/instance.ts';
import { openGenetlink } from '../host/genetlink.ts';
import { addAddress, deleteAddress, listAddresses } from '../host/link-addresses.ts';
import type { NetlinkSocket } from '../host/netlink.ts';
import { deleteLink, linkIndex, listLinks, setLinkMtu, setLinkUp } from '../host/rtnetlink.ts';
import { readSysctl, writeSysctl } from '../host/sysctl.ts';
import {
  changeWireguard,
  createWireguard,
  endpointText,
  findWireguard,
  readWireguard,
  type WireguardChange,
  type WireguardDevice,
  type WireguardPeer,
} from '../host/wireguard.ts';
import type { NetworkEncryption, NetworkSpec } from './node-network.ts';
import type { NetworkState } from './state.ts';
import { isTunnelKeyOld, makeTunnelKey, readTunnelKey, type TunnelKey } from './tunnel-key.ts';

/** Addresses inside the tunnels are of one range per cluster with this prefix. */
export const TUNNEL_PREFIX = 48;
/** IPv6 wants this much, and an IPv6 header is on all that goes through. */
export const LEAST_TUNNEL_MTU = 1280;
/** What a frame has around it inside the tunnel: IPv6 and UDP header, VXLAN header and the inner Ethernet header. */
export const VXLAN_OVER_IPV6 = 40 + 8 + 8 + 14;

export type EncryptedSpec = NetworkSpec & {
  readonly overlay: NonNullable<NetworkSpec['overlay']> & { readonly encryption: NetworkEncryption };
};

export const isEncrypted = (spec: NetworkSpec): spec is EncryptedSpec => spec.overlay?.encryption !== undefined;

export interface TunnelPlan {
  /** Address of this node inside the tunnels. */
  readonly ip: string;
  readonly port: number;
  readonly mtu: number;
  readonly peers: readonly WireguardPeer[];
}

/**
 * The device that the encrypted networks of the node need; undefined without one. They are told of a new key one after the
 * other: the last word on an address counts. Pure.
 */
export function planTunnel({ networks, peers }: Pick<NetworkState, 'networks' | 'peers'>): TunnelPlan | undefined {
  const specs = [...networks.values()].filter(isEncrypted);
  const [first] = specs;
  if (!first) return undefined;
  const { ip, port } = first.overlay.encryption;
  const byAddress = new Map<string, WireguardPeer>();
  for (const { id } of specs)
    for (const { host, ip: allowedIp, publicKey } of peers.get(id)?.tunnels ?? [])
      if (allowedIp !== ip) byAddress.set(allowedIp, { publicKey, allowedIp, endpoint: { ip: host, port } });
  // One key has one address.
  const byKey = new Map([...byAddress.values()].map((peer) => [peer.publicKey, peer]));
  const mtu = Math.max(LEAST_TUNNEL_MTU, ...specs.map((spec) => spec.mtu + VXLAN_OVER_IPV6));
  return { ip, port, mtu, peers: [...byKey.values()] };
}

/**
 * What to change to come from what the device has to the plan. A peer that has proved who it is may be reached at another
 * address than planned, so that alone counts only `withEndpoints`. Pure.
 */
export function diffTunnel(
  { port, peers }: TunnelPlan,
  { publicKey, privateKey }: Pick<TunnelKey, 'publicKey' | 'privateKey'>,
  present: WireguardDevice,
  { withEndpoints }: { readonly withEndpoints: boolean },
): WireguardChange | undefined {
  const wanted = new Set(peers.map((peer) => peer.publicKey));
  const remove = [...present.peers.keys()].filter((key) => !wanted.has(key));
  const set = peers.filter((peer) => {
    const has = present.peers.get(peer.publicKey);
    if (!has || has.endpoint === '' || has.allowedIps.join() !== `${peer.allowedIp}/128`) return true;
    return withEndpoints && has.endpoint !== endpointText(peer.endpoint.ip, peer.endpoint.port);
  });
  const isOtherKey = present.publicKey !== publicKey;
  const isOtherPort = present.listenPort !== port;
  if (remove.length + set.length === 0 && !isOtherKey && !isOtherPort) return undefined;
  return { ...(isOtherKey ? { privateKey } : {}), ...(isOtherPort ? { listenPort: port } : {}), remove, set };
}

export interface Tunnel {
  /** Why nothing can be encrypted here, in words; undefined where it can. */
  lacks(): string | undefined;
  /** The public key, base64; made, or made anew, where it is missing or has served its time. '' where nothing can be encrypted. */
  publicKey(): string;
  /**
   * Makes the device equal to the state and returns its name if that changed anything. Unavailable where nothing can be
   * encrypted, Conflict when somebody has the UDP port.
   */
  sync(options?: { readonly withEndpoints: boolean }): string | undefined;
}

/** The tunnels of the instance; `keyFile` is where the key is kept. */
export function createTunnel(deps: {
  readonly instance: Instance;
  readonly state: NetworkState;
  readonly links: NetlinkSocket;
  readonly keyFile: string;
  readonly now?: () => number;
}): Tunnel {
  const { instance, state, links, keyFile, now = Date.now } = deps;
  const name = kernelNames.tunnel(instance);
  let generic: NetlinkSocket | undefined;
  let family: number | undefined;
  let key: TunnelKey | undefined;

  function lacks(): string | undefined {
    // A module may be loaded later; one that is in use does not leave.
    family ??= findWireguard((generic ??= openGenetlink()));
    if (family === undefined) return 'the kernel has no WireGuard (CONFIG_WIREGUARD)';
    const hasIpv6 = readSysctl('net/ipv6/conf/all/disable_ipv6') !== undefined;
    return hasIpv6 ? undefined : 'the kernel has no IPv6, or it is off (ipv6.disable)';
  }

  const currentKey = (): TunnelKey => (key ??= readTunnelKey(keyFile) ?? makeTunnelKey(keyFile));

  function sync({ withEndpoints } = { withEndpoints: false }): string | undefined {
    const plan = planTunnel(state);
    if (!plan) {
      if (linkIndex(name) === 0) return undefined;
      deleteLink(links, name);
      return name;
    }
    const why = lacks();
    if (why !== undefined || family === undefined || !generic)
      throw new WindlassError('Unavailable', `cannot encrypt: ${why}`);
    const isMade = ensureDevice(links, name, plan.mtu);
    const index = linkIndex(name);
    const change = diffTunnel(plan, currentKey(), readWireguard(generic, family, index), { withEndpoints });
    try {
      if (change) changeWireguard(generic, { family, index }, change);
      const isChanged = bringUp(links, { name, index }, plan.ip);
      return isMade || isChanged || change ? name : undefined;
    } catch (error) {
      if (errnoOf(error) !== 'EADDRINUSE') throw error;
      throw new WindlassError('Conflict', `UDP port ${plan.port} for encryption is in use on this host`, {
        cause: error,
      });
    }
  }

  return {
    lacks,
    publicKey() {
      if (lacks() !== undefined) return '';
      const onDisk = readTunnelKey(keyFile);
      const isKept = onDisk !== undefined && !isTunnelKeyOld(onDisk, now());
      const before = key?.publicKey;
      key = isKept ? onDisk : makeTunnelKey(keyFile);
      if (before !== undefined && before !== key.publicKey) sync();
      return key.publicKey;
    },
    sync,
  };
}

/** Returns whether it was missing or had another MTU. */
function ensureDevice(links: NetlinkSocket, name: string, mtu: number): boolean {
  const present = listLinks(links, name).find((link) => link.name === name);
  if (present?.mtu === mtu) return false;
  if (present) setLinkMtu(links, present.index, mtu);
  else createWireguard(links, name, mtu);
  return true;
}

/** Gives the device its address, with the route to all others that comes of it, and puts it up; returns whether it was not so. */
function bringUp(links: NetlinkSocket, { name, index }: { name: string; index: number }, ip: string): boolean {
  const isUp = listLinks(links, name).some((link) => link.name === name && link.isUp);
  const own = listAddresses(links, 'IPv6').filter(({ linkIndex: at }) => at === index);
  const isThere = own.some((one) => one.ip === ip && one.prefixLength === TUNNEL_PREFIX);
  if (isUp && isThere) return false;
  // Hosts that give new links no IPv6 mean those that lead outside.
  writeSysctl(`net/ipv6/conf/${name}/disable_ipv6`, '0');
  for (const one of own)
    if (one.ip !== ip && !one.ip.startsWith('fe80:')) deleteAddress(links, index, one.ip, one.prefixLength);
  setLinkUp(links, index);
  // Added again when the link was down: the route went with that.
  if (!isUp && isThere) deleteAddress(links, index, ip, TUNNEL_PREFIX);
  addAddress(links, index, { ip, prefixLength: TUNNEL_PREFIX });
  return true;
}
