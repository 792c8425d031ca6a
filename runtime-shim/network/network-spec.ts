// What makes a network possible on this node, and what must not change while it is used. Pure.
import { WindlassError } from '../../lib/errors.ts';
import type { HostRoute } from '../../lib/host-routes.ts';
import { contains, parseCidr, parseIp } from './ipam.ts';
import type { NetworkSpec } from './node-network.ts';

/** What sandboxes depend on: ranges may change under them, the rest may not. */
export function describeShape(spec: NetworkSpec): string {
  const subnets = spec.subnets.map(({ cidr, gateway }) => [cidr, gateway]);
  return JSON.stringify([subnets, spec.internal, spec.isolated]);
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
}
