// What makes a network possible on this node, and what must not change while it is used. Pure.
import { isIP } from 'node:net';
import { WindlassError } from '../../lib/errors.ts';
import type { HostRoute } from '../../lib/host-routes.ts';
import { isMac } from '../host/rtnetlink.ts';
import { contains, parseCidr, parseIp } from './ipam.ts';
import type { NetworkOverlay, NetworkSpec, OverlayPeers } from './node-network.ts';

/** What sandboxes depend on: ranges may change under them, the rest may not. */
export function describeShape(spec: NetworkSpec): string {
  const subnets = spec.subnets.map(({ cidr, gateway }) => [cidr, gateway]);
  return JSON.stringify([subnets, spec.internal, spec.isolated, spec.overlay !== undefined]);
}

/** The lowest bit of the first byte marks groups. */
const isUnicastMac = (text: string): boolean => isMac(text) && (Number.parseInt(text.slice(0, 2), 16) & 1) === 0;
const HIGHEST_VNI = 0xffffff;

/** Throws Invalid naming the value that no overlay can have. */
function validateOverlay(spec: NetworkSpec, { vni, port, underlayIp, nodeIp, nodeMac }: NetworkOverlay): void {
  const refuse = (what: string): never => {
    throw new WindlassError('Invalid', `network ${spec.id}: ${what}`);
  };
  if (!(Number.isInteger(vni) && vni >= 1 && vni <= HIGHEST_VNI)) refuse(`VNI ${vni} is not from 1 to ${HIGHEST_VNI}`);
  if (!(Number.isInteger(port) && port >= 1 && port <= 65_535)) refuse(`UDP port ${port} is not from 1 to 65535`);
  if (isIP(underlayIp) === 0) refuse(`${JSON.stringify(underlayIp)} is no address of a node`);
  const first = parseCidr(spec.subnets[0]?.cidr ?? '');
  if (!contains(first, parseIp(nodeIp)) || spec.subnets.some(({ gateway }) => gateway === nodeIp))
    refuse(`address ${nodeIp} of this node is not in the first subnet or is the gateway's`);
  if (!isUnicastMac(nodeMac)) refuse(`${JSON.stringify(nodeMac)} is no MAC of a bridge`);
}

/** Throws Invalid naming the value that no peer of an overlay can have. */
export function validatePeers(networkId: string, { hosts, endpoints }: OverlayPeers): void {
  const refuse = (what: string): never => {
    throw new WindlassError('Invalid', `peers of network ${networkId}: ${what}`);
  };
  for (const host of hosts) if (isIP(host) === 0) refuse(`${JSON.stringify(host)} is no address of a node`);
  const known = new Set(hosts);
  for (const { ip, mac, host } of endpoints) {
    parseIp(ip);
    if (!isUnicastMac(mac)) refuse(`${JSON.stringify(mac)} is no MAC of an endpoint`);
    if (!known.has(host)) refuse(`endpoint ${ip} is at ${JSON.stringify(host)}, which is none of the hosts`);
  }
}

/** Throws Conflict naming the link whose route leads to addresses that the network would take over. */
export function refuseTakenRoutes(spec: NetworkSpec, routes: readonly HostRoute[]): void {
  for (const { cidr } of spec.subnets) {
    const { base, last } = parseCidr(cidr);
    const clash = routes.find((route) => parseCidr(route.cidr).base <= last && base <= parseCidr(route.cidr).last);
    if (clash)
      throw new WindlassError(
        'Conflict',
        `subnet ${cidr} overlaps the host's route to ${clash.cidr} over ${clash.link}`,
      );
  }
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
  if (!spec.overlay) return;
  validateOverlay(spec, spec.overlay);
  const { vni } = spec.overlay;
  const holder = others.find(({ id, overlay }) => id !== spec.id && overlay?.vni === vni);
  if (holder) throw new WindlassError('Conflict', `VNI ${vni} of network ${spec.id} is that of network ${holder.id}`);
}
