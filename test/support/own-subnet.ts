// Addresses for a network of a test: nobody else's on this host, also where the same test runs twice at once.
import { randomInt } from 'node:crypto';
import { readHostRoutes } from '../../lib/host-routes.ts';
import { parseCidr } from '../../runtime-shim/network/ipam.ts';

/** Between the ranges that the pod network and the underlays of test clusters are in. */
const SECOND = { first: 224, end: 240 };

/** The first three numbers of a /24 that no route of this host meets, e.g. `10.231.17`. */
export function pickSubnet(): string {
  const routes = readHostRoutes('').map(({ cidr }) => parseCidr(cidr));
  for (let tries = 0; tries < 1_000; tries += 1) {
    const prefix = `10.${randomInt(SECOND.first, SECOND.end)}.${randomInt(256)}`;
    const { base, last } = parseCidr(`${prefix}.0/24`);
    if (!routes.some((route) => route.base <= last && base <= route.last)) return prefix;
  }
  throw new Error('no range of addresses for a test is free on this host');
}
