// The ranges that this host's routes lead to, from the kernel's tables: what a new network must stay clear of.
import { readFileSync } from 'node:fs';
import { errnoOf } from './errors.ts';
import { formatAddress } from './ip-address.ts';

export interface HostRoute {
  /** `10.0.0.0/16`, `fd00:1::/64` */
  readonly cidr: string;
  readonly link: string;
}

/** IPv4 routes of the main table besides the default route and those over links whose name begins with `ownPrefix`. */
export function readHostRoutes(ownPrefix: string): HostRoute[] {
  return parseRoutes(readFileSync('/proc/net/route', 'latin1')).filter(({ link }) => !link.startsWith(ownPrefix));
}

/** The same of IPv6; none on a host without it. */
export function readIpv6HostRoutes(ownPrefix: string): HostRoute[] {
  try {
    const text = readFileSync('/proc/net/ipv6_route', 'latin1');
    return parseIpv6Routes(text).filter(({ link }) => !link.startsWith(ownPrefix));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Flags of routes that come with an address of the host, and of those that the kernel only remembers. */
const [RTF_LOCAL, RTF_CACHE, RTF_ANYCAST] = [0x8000_0000, 0x0100_0000, 0x0010_0000];

/** Parses the text of /proc/net/ipv6_route; sorted, without the default route, link-local and multicast ones. */
export function parseIpv6Routes(text: string): HostRoute[] {
  const routes = text.split('\n').flatMap((line): HostRoute[] => {
    const [destination = '', prefix = '', , , , , , , flags = '', link = ''] = line.trim().split(/\s+/);
    if (!/^[0-9a-f]{32}$/.test(destination) || link === '') return [];
    const isOfKernel = (Number.parseInt(flags, 16) & (RTF_LOCAL | RTF_CACHE | RTF_ANYCAST)) !== 0;
    if (isOfKernel || prefix === '00' || /^(fe[89ab]|ff)/.test(destination)) return [];
    return [{ cidr: `${formatAddress(Buffer.from(destination, 'hex'))}/${Number.parseInt(prefix, 16)}`, link }];
  });
  return routes.toSorted(byRange);
}

const byRange = (a: HostRoute, b: HostRoute): number => a.cidr.localeCompare(b.cidr) || a.link.localeCompare(b.link);

/** Parses the text of /proc/net/route; sorted, without the default route. */
export function parseRoutes(text: string): HostRoute[] {
  const routes: HostRoute[] = [];
  for (const line of text.split('\n').slice(1)) {
    const [link = '', destination = '', , , , , , mask = ''] = line.split('\t');
    if (!/^[0-9A-F]{8}$/.test(destination) || !/^[0-9A-F]{8}$/.test(mask) || mask === '00000000') continue;
    const prefixLength = octets(mask).reduce((bits, octet) => bits + octet.toString(2).replaceAll('0', '').length, 0);
    routes.push({ cidr: `${octets(destination).join('.')}/${prefixLength}`, link });
  }
  return routes.toSorted(byRange);
}

// The kernel prints the words as the host stores them; every platform we run on is little-endian.
const octets = (word: string): number[] => [...Buffer.from(word, 'hex').reverse()];
