// The links of networks and endpoints: bridges on the host, one veth pair per endpoint. Every function brings about a
// state and is fine when (part of) it is there.
import { closeSync, openSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { kernelNames, type Instance } from '../../lib/instance.ts';
import { ipv6Of, linkLocalOf, parseIpv6Cidr } from '../../lib/ipv6.ts';
import { withNetns } from '../host/namespaces.ts';
import { addAddress, type AddressToAdd, deleteAddress, listAddresses, setUpInterface } from '../host/link-addresses.ts';
import type { NetlinkSocket } from '../host/netlink.ts';
import {
  createBridge,
  createVethPair,
  joinBridge,
  linkIndex,
  listLinks,
  openRtnetlink,
  setLinkMac,
  setLinkMtu,
  setLinkUp,
} from '../host/rtnetlink.ts';
import { readSysctl, writeSysctl } from '../host/sysctl.ts';
import { parseCidr } from './ipam.ts';
import { forwardIpv6 } from './ipv6-forwarding.ts';
import { macOf } from './mac.ts';
import type { NetworkSpec } from './node-network.ts';
import type { EndpointRecord } from './records.ts';

/**
 * Addresses of the network's bridge. Every node of an overlay has the gateway's, which is never on the wire; what the
 * bridge sends itself comes from the address that is the node's own.
 */
export function bridgeAddresses(spec: NetworkSpec): { ip: string; prefixLength: number }[] {
  return spec.subnets.flatMap(({ cidr, gateway }, index) => {
    const { prefixLength } = parseCidr(cidr);
    if (!spec.overlay) return [{ ip: gateway, prefixLength }];
    const own = index === 0 ? [{ ip: spec.overlay.nodeIp, prefixLength }] : [];
    return [...own, { ip: gateway, prefixLength: own.length > 0 ? 32 : prefixLength }];
  });
}

/** The same of IPv6, with the link-local one, from which it asks for the MACs of those it forwards to. */
export function bridgeIpv6Addresses({ ipv6, overlay }: NetworkSpec, mac: string): AddressToAdd[] {
  if (!ipv6) return [];
  const { prefixLength } = parseIpv6Cidr(ipv6.cidr);
  const linkLocal = { ip: linkLocalOf(mac), prefixLength: 64 };
  if (!overlay) return [linkLocal, { ip: ipv6.gateway, prefixLength }];
  return [
    linkLocal,
    { ip: ipv6Of(ipv6.pool, overlay.nodeIp), prefixLength },
    { ip: ipv6.gateway, prefixLength: 128, isDeprecated: true },
  ];
}

/** Makes the network's bridge, up, with its addresses and settings; returns its name. */
export function ensureBridge(socket: NetlinkSocket, instance: Instance, spec: NetworkSpec): string {
  const name = kernelNames.bridge(instance, spec.id);
  const mac = spec.overlay?.nodeMac ?? macOf(`${instance.id}/${spec.id}`);
  if (linkIndex(name) === 0) createBridge(socket, name, { mac, mtu: spec.mtu });
  const index = linkIndex(name);
  const present = listLinks(socket, name).find((link) => link.name === name);
  if (present && present.mtu !== spec.mtu) setLinkMtu(socket, index, spec.mtu);
  if (present && present.mac !== mac) setLinkMac(socket, index, mac);
  setUpIpv6(name, spec.ipv6 !== undefined);
  setLinkUp(socket, index);
  const [addresses, ipv6Addresses] = [bridgeAddresses(spec), bridgeIpv6Addresses(spec, mac)];
  for (const address of [...addresses, ...ipv6Addresses]) addAddress(socket, index, address);
  if (spec.overlay) removeOtherAddresses(socket, index, [...addresses, ...ipv6Addresses]);
  if (spec.ipv6 && !spec.internal) forwardIpv6();
  // 127.0.0.1 of the host reaches published ports; table `early` keeps containers from using the same way back.
  writeSysctl(`net/ipv4/conf/${name}/route_localnet`, '1');
  return name;
}

/** A node whose block went to another one has another address of its own. Those of one host (/32) are virtual ones. */
function removeOtherAddresses(socket: NetlinkSocket, index: number, wanted: readonly AddressToAdd[]): void {
  const present = [
    ...listAddresses(socket).filter(({ prefixLength }) => prefixLength !== 32),
    ...(wanted.some(({ ip }) => isIPv6(ip)) ? listAddresses(socket, 'IPv6') : []),
  ];
  for (const { linkIndex: of, ip, prefixLength } of present) {
    if (of !== index) continue;
    if (!wanted.some((address) => address.ip === ip && address.prefixLength === prefixLength))
      deleteAddress(socket, index, ip, prefixLength);
  }
}

/**
 * IPv6 on a link of ours, before it is up: its addresses are those that we give it, not what the kernel makes up, and no
 * router is believed. Unavailable when it is to be on and the kernel has none.
 */
function setUpIpv6(link: string, isOn: boolean): void {
  const settings = `net/ipv6/conf/${link}`;
  if (!isOn) return writeSysctl(`${settings}/disable_ipv6`, '1', { optional: true });
  if (readSysctl(`${settings}/disable_ipv6`) === undefined)
    throw new WindlassError('Unavailable', 'the kernel has no IPv6, which the network asks for');
  writeSysctl(`${settings}/addr_gen_mode`, NO_GENERATED_ADDRESSES);
  writeSysctl(`${settings}/accept_ra`, '0');
  writeSysctl(`${settings}/disable_ipv6`, '0');
}

/** IN6_ADDR_GEN_MODE_NONE */
const NO_GENERATED_ADDRESSES = '1';

/** Connects the namespace: veth pair, the host's end in the bridge, the other end named, addressed and up. */
export function ensureEndpoint(
  socket: NetlinkSocket,
  netnsPath: string,
  bridge: string,
  endpoint: EndpointRecord,
  spec: NetworkSpec,
): void {
  const bridgeIndex = linkIndex(bridge);
  if (linkIndex(endpoint.hostLink) !== 0) return joinBridge(socket, endpoint.hostLink, bridgeIndex, spec.isolated);
  const netnsFd = openNetns(netnsPath);
  try {
    createVethPair(socket, {
      hostName: endpoint.hostLink,
      bridgeIndex,
      peerName: endpoint.name,
      peerMac: endpoint.macAddress,
      netnsFd,
      mtu: spec.mtu,
      isolated: spec.isolated,
    });
  } finally {
    closeSync(netnsFd);
  }
  withNetns(netnsPath, () => {
    using inside = openRtnetlink();
    const { name, ipv4Address, prefixLength, macAddress, ipv6 } = endpoint;
    setUpIpv6(name, ipv6 !== undefined);
    const addresses: AddressToAdd[] = [{ ip: ipv4Address, prefixLength }];
    if (ipv6) {
      addresses.push({ ip: linkLocalOf(macAddress), prefixLength: 64 });
      addresses.push({ ip: ipv6.address, prefixLength: ipv6.prefixLength });
    }
    setUpInterface(inside, {
      index: linkIndex(name),
      addresses,
      gateways: [
        ...(endpoint.isDefaultRoute ? [endpoint.gateway] : []),
        ...(ipv6 && endpoint.isIpv6DefaultRoute ? [ipv6.gateway] : []),
      ],
    });
  });
}

/** Puts `lo` of the namespace up. */
export function ensureLoopback(netnsPath: string): void {
  withNetns(netnsPath, () => {
    using inside = openRtnetlink();
    setLinkUp(inside, 1);
  });
}

function openNetns(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw new WindlassError('NotFound', `network namespace ${path} does not exist`, { cause: error });
  }
}
