// What makes a network possible on this node, and what must not change while it is used. Pure.
import { isIP, isIPv4, isIPv6 } from 'node:net';
import { WindlassError } from '../../lib/errors.ts';
import type { HostRoute } from '../../lib/host-routes.ts';
import {
  containsIpv6,
  formatIpv6,
  ipv4NumberOf,
  LONGEST_POOL_PREFIX,
  overlapsIpv6,
  parseIpv6,
  parseIpv6Cidr,
} from '../../lib/ipv6.ts';
import { isMac } from '../host/rtnetlink.ts';
import { isWireguardKey } from '../host/wireguard.ts';
import { contains, formatIp, parseCidr, parseIp } from './ipam.ts';
import type {
  IngressSpec,
  NetworkIpv6,
  NetworkOverlay,
  NetworkSpec,
  OverlayPeers,
  ServiceSpec,
} from './node-network.ts';

/** What sandboxes depend on: ranges may change under them, the rest may not. */
export function describeShape(spec: NetworkSpec): string {
  const subnets = spec.subnets.map(({ cidr, gateway }) => [cidr, gateway]);
  return JSON.stringify([
    subnets,
    spec.ipv6,
    spec.internal,
    spec.isolated,
    spec.overlay !== undefined,
    spec.overlay?.encryption !== undefined,
  ]);
}

/** The lowest bit of the first byte marks groups. */
const isUnicastMac = (text: string): boolean => isMac(text) && (Number.parseInt(text.slice(0, 2), 16) & 1) === 0;
const HIGHEST_VNI = 0xffffff;
/** One with a zone means another link on each node. */
const isHost = (text: string): boolean => isIP(text) !== 0 && !text.includes('%');

/** Throws Invalid naming the value that no overlay can have. */
function validateOverlay(spec: NetworkSpec, overlay: NetworkOverlay): void {
  const { vni, port, underlayIp, nodeIp, nodeMac, encryption } = overlay;
  const refuse = (what: string): never => {
    throw new WindlassError('Invalid', `network ${spec.id}: ${what}`);
  };
  if (!(Number.isInteger(vni) && vni >= 1 && vni <= HIGHEST_VNI)) refuse(`VNI ${vni} is not from 1 to ${HIGHEST_VNI}`);
  if (!(Number.isInteger(port) && port >= 1 && port <= 65_535)) refuse(`UDP port ${port} is not from 1 to 65535`);
  if (!isHost(underlayIp)) refuse(`${JSON.stringify(underlayIp)} is no address of a node`);
  const first = parseCidr(spec.subnets[0]?.cidr ?? '');
  if (!contains(first, parseIp(nodeIp)) || spec.subnets.some(({ gateway }) => gateway === nodeIp))
    refuse(`address ${nodeIp} of this node is not in the first subnet or is the gateway's`);
  if (!isUnicastMac(nodeMac)) refuse(`${JSON.stringify(nodeMac)} is no MAC of a bridge`);
  if (!encryption) return;
  if (!isTunnelAddress(encryption.ip)) refuse(`${JSON.stringify(encryption.ip)} is no address inside the tunnels`);
  if (!isPort(encryption.port, 1)) refuse(`UDP port ${encryption.port} is not from 1 to 65535`);
  if (encryption.port === port) refuse(`UDP port ${port} cannot be both that of VXLAN and that of the encryption`);
}

/** Compared as text, also with what the kernel says. */
const isTunnelAddress = (text: string): boolean =>
  isIPv6(text) && !text.includes('%') && formatIpv6(parseIpv6(text)) === text;

/** Throws Invalid naming the value that no peer of an overlay can have. */
export function validatePeers(networkId: string, { hosts, endpoints, tunnels = [] }: OverlayPeers): void {
  const refuse = (what: string): never => {
    throw new WindlassError('Invalid', `peers of network ${networkId}: ${what}`);
  };
  for (const host of hosts) if (!isHost(host)) refuse(`${JSON.stringify(host)} is no address of a node`);
  const known = new Set(hosts);
  for (const { ip, mac, host } of endpoints) {
    if (!isHost(ip)) refuse(`${JSON.stringify(ip)} is no address of an endpoint`);
    if (!isUnicastMac(mac)) refuse(`${JSON.stringify(mac)} is no MAC of an endpoint`);
    if (!known.has(host)) refuse(`endpoint ${ip} is at ${JSON.stringify(host)}, which is none of the hosts`);
  }
  const taken = new Map<string, string>();
  for (const { host, ip, publicKey } of tunnels) {
    if (!known.has(host)) refuse(`tunnel ${ip} is to ${JSON.stringify(host)}, which is none of the hosts`);
    if (!isTunnelAddress(ip)) refuse(`${JSON.stringify(ip)} is no address inside the tunnels`);
    if (!isWireguardKey(publicKey)) refuse(`${JSON.stringify(publicKey)} of ${host} is no key`);
    // Who has the key or the address of another would get what is for him.
    for (const one of [host, ip, publicKey]) {
      const other = taken.get(one);
      if (other !== undefined) refuse(`tunnels to ${other} and ${host} have ${one} in common`);
      taken.set(one, host);
    }
  }
}

const isPort = (port: number, lowest: 0 | 1): boolean => Number.isInteger(port) && port >= lowest && port <= 65_535;

/**
 * Throws Invalid naming the value that no Service and no ingress network can have. What passes is written into scripts of
 * the packet filter as it is, and comes from other nodes.
 */
export function validateServices(services: readonly ServiceSpec[], ingress: IngressSpec | undefined): void {
  const refuse = (what: string): never => {
    throw new WindlassError('Invalid', what);
  };
  for (const { id, ports } of services) {
    for (const { protocol, virtualIp, port, publishedPort, backends } of ports) {
      const own = `port ${publishedPort || port} of Service ${id}`;
      if (!['TCP', 'UDP'].includes(protocol)) refuse(`${own}: ${JSON.stringify(protocol)} is neither TCP nor UDP`);
      if (virtualIp !== '' && !isIPv4(virtualIp)) refuse(`${own}: ${JSON.stringify(virtualIp)} is no IPv4 address`);
      if (!isPort(port, 0) || !isPort(publishedPort, 0)) refuse(`${own} is not from 0 to 65535`);
      for (const backend of backends) {
        if (!isIPv4(backend.ip)) refuse(`${own}: backend ${JSON.stringify(backend.ip)} is no IPv4 address`);
        if (backend.ipv6 !== undefined && !isIPv6(backend.ipv6))
          refuse(`${own}: ${JSON.stringify(backend.ipv6)} of a backend is no IPv6 address`);
        if (!isPort(backend.port, 1)) refuse(`${own}: port ${backend.port} of a backend is not from 1 to 65535`);
      }
    }
  }
  if (!ingress) return;
  for (const ip of [ingress.ip, ...ingress.peers.flatMap((peer) => [peer.ip, ...peer.hosts])])
    if (!isIPv4(ip)) refuse(`ingress network ${ingress.network}: ${JSON.stringify(ip)} is no IPv4 address`);
  for (const { mac } of ingress.peers)
    if (!isUnicastMac(mac)) refuse(`ingress network ${ingress.network}: ${JSON.stringify(mac)} is no MAC of a bridge`);
}

/** Throws Conflict naming the link whose route leads to addresses that the network would take over. */
export function refuseTakenRoutes(spec: NetworkSpec, routes: readonly HostRoute[]): void {
  for (const { cidr } of spec.subnets) {
    const { base, last } = parseCidr(cidr);
    const clash = routes.find((route) => parseCidr(route.cidr).base <= last && base <= parseCidr(route.cidr).last);
    if (clash) throw takenRoute(cidr, clash);
  }
}

/** The same for IPv6. */
export function refuseTakenIpv6Routes(cidr: string, routes: readonly HostRoute[]): void {
  const range = parseIpv6Cidr(cidr);
  const clash = routes.find((route) => overlapsIpv6(range, parseIpv6Cidr(route.cidr)));
  if (clash) throw takenRoute(cidr, clash);
}

const takenRoute = (cidr: string, route: HostRoute): WindlassError =>
  new WindlassError('Conflict', `subnet ${cidr} overlaps the host's route to ${route.cidr} over ${route.link}`);

/** The IPv4 address of the network whose holder has `ipv6`; undefined for one that nobody has by his IPv4 address. */
export function findIpv4Owner({ ipv6, subnets }: NetworkSpec, address: string): string | undefined {
  const number = ipv6 && ipv4NumberOf(ipv6.pool, address);
  if (number === undefined || !subnets.some(({ cidr }) => contains(parseCidr(cidr), number))) return undefined;
  return formatIp(number);
}

/** Links with less have no IPv6 (RFC 8200, section 5). */
const IPV6_MTU = 1280;

function validateIpv6(spec: NetworkSpec, { cidr, gateway, pool }: NetworkIpv6, others: readonly NetworkSpec[]): void {
  const refuse = (what: string): never => {
    throw new WindlassError('Invalid', `network ${spec.id}: ${what}`);
  };
  if (spec.mtu < IPV6_MTU) refuse(`an MTU of ${spec.mtu} is too small for IPv6, want at least ${IPV6_MTU}`);
  const range = parseIpv6Cidr(cidr);
  if (!containsIpv6(range, parseIpv6Cidr(pool))) refuse(`range ${pool} is not in ${cidr}`);
  if (parseIpv6Cidr(pool).prefixLength > LONGEST_POOL_PREFIX)
    refuse(`range ${pool} has no room for IPv4 addresses, want a prefix of at most ${LONGEST_POOL_PREFIX} bits`);
  const value = parseIpv6(gateway);
  if (formatIpv6(value) !== gateway || !containsIpv6(range, value) || value === range.first)
    refuse(`gateway ${gateway} is no usable address of ${cidr} in its shortest form`);
  const owner = findIpv4Owner(spec, gateway);
  if (owner !== undefined) refuse(`gateway ${gateway} is kept for the container that has ${owner}`);
  for (const { id, ipv6 } of others)
    if (id !== spec.id && ipv6 && overlapsIpv6(range, parseIpv6Cidr(ipv6.cidr)))
      throw new WindlassError('Conflict', `subnet ${cidr} of network ${spec.id} overlaps network ${id}`);
}

/** Throws Invalid or Conflict, naming the field's value, for a network that cannot be made beside the others. */
export function validateNetwork(spec: NetworkSpec, others: readonly NetworkSpec[]): void {
  if (spec.subnets.length === 0) throw new WindlassError('Invalid', `network ${spec.id} has no subnet`);
  for (const { cidr, gateway, ranges } of spec.subnets) {
    const subnet = parseCidr(cidr);
    if (!contains(subnet, parseIp(gateway)))
      throw new WindlassError('Invalid', `gateway ${gateway} of network ${spec.id} is not in ${cidr}`);
    for (const range of ranges) {
      const { base, last } = parseCidr(range);
      if (base < subnet.base || last > subnet.last)
        throw new WindlassError('Invalid', `range ${range} of network ${spec.id} is not in ${cidr}`);
    }
    for (const other of others) {
      if (other.id === spec.id) continue;
      for (const taken of other.subnets.map((own) => parseCidr(own.cidr)))
        if (taken.base <= subnet.last && subnet.base <= taken.last)
          throw new WindlassError('Conflict', `subnet ${cidr} of network ${spec.id} overlaps network ${other.id}`);
    }
  }
  if (spec.ipv6) validateIpv6(spec, spec.ipv6, others);
  if (!spec.overlay) return;
  validateOverlay(spec, spec.overlay);
  const { vni } = spec.overlay;
  const holder = others.find(({ id, overlay }) => id !== spec.id && overlay?.vni === vni);
  if (holder) throw new WindlassError('Conflict', `VNI ${vni} of network ${spec.id} is that of network ${holder.id}`);
}
