// The IPv4 ranges that this host's routes lead to, from the kernel's table: what a new network must stay clear of.
import { readFileSync } from 'node:fs';

export interface HostRoute {
  /** `10.0.0.0/16` */
  readonly cidr: string;
  readonly link: string;
}

/** Routes of the main table besides the default route and those over links whose name begins with `ownPrefix`. */
export function readHostRoutes(ownPrefix: string): HostRoute[] {
  return parseRoutes(readFileSync('/proc/net/route', 'latin1')).filter(({ link }) => !link.startsWith(ownPrefix));
}

/** Parses the text of /proc/net/route; sorted, without the default route. */
export function parseRoutes(text: string): HostRoute[] {
  const routes: HostRoute[] = [];
  for (const line of text.split('\n').slice(1)) {
    const [link = '', destination = '', , , , , , mask = ''] = line.split('\t');
    if (!/^[0-9A-F]{8}$/.test(destination) || !/^[0-9A-F]{8}$/.test(mask) || mask === '00000000') continue;
    const prefixLength = octets(mask).reduce((bits, octet) => bits + octet.toString(2).replaceAll('0', '').length, 0);
    routes.push({ cidr: `${octets(destination).join('.')}/${prefixLength}`, link });
  }
  return routes.toSorted((a, b) => a.cidr.localeCompare(b.cidr) || a.link.localeCompare(b.link));
}

// The kernel prints the words as the host stores them; every platform we run on is little-endian.
const octets = (word: string): number[] => [...Buffer.from(word, 'hex').reverse()];
