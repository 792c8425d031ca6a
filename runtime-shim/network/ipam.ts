// IPv4 arithmetic and address choice, pure. Addresses in use come from the sandbox records; nothing else is stored.
import { WindlassError } from '../../lib/errors.ts';
import type { NetworkSubnet } from './node-network.ts';

export interface Cidr {
  /** First address, as a number. */
  readonly base: number;
  readonly prefixLength: number;
  /** Last address, as a number. */
  readonly last: number;
}

/** Parses `10.1.0.0/16`; host bits are cleared. Throws Invalid that quotes the text. */
export function parseCidr(text: string): Cidr {
  const [ip = '', length = ''] = text.split('/');
  const prefixLength = Number(length);
  if (!/^\d{1,2}$/.test(length) || prefixLength > 32) throw invalid(text, 'CIDR');
  const size = 2 ** (32 - prefixLength);
  const address = parseIp(ip);
  const base = address - (address % size);
  return { base, prefixLength, last: base + size - 1 };
}

/** The number of an IPv4 address. Throws Invalid that quotes the text. */
export function parseIp(text: string): number {
  // By hand: each new address is compared with all that are in use.
  let [number, part, digits, dots] = [0, 0, 0, 0];
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === DOT && digits > 0) {
      number = number * 256 + part;
      [part, digits, dots] = [0, 0, dots + 1];
    } else if (code >= ZERO && code <= NINE && digits < 3) {
      part = part * 10 + (code - ZERO);
      digits += 1;
    } else {
      throw invalid(text, 'IPv4 address');
    }
    if (part > 255) throw invalid(text, 'IPv4 address');
  }
  if (dots !== 3 || digits === 0) throw invalid(text, 'IPv4 address');
  return number * 256 + part;
}

const [DOT, ZERO, NINE] = [0x2e, 0x30, 0x39];

/** The text of an IPv4 address. */
export function formatIp(number: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join('.');
}

/** True when `ip` lies in the CIDR. */
export function contains(cidr: Cidr, ip: number): boolean {
  return ip >= cidr.base && ip <= cidr.last;
}

/** An address of a subnet. */
export interface Lease {
  readonly ip: string;
  readonly prefixLength: number;
  readonly gateway: string;
}

/** Who uses which address of the network: number -> label of the holder. */
export type UsedAddresses = ReadonlyMap<number, string>;

/**
 * The next free address after `after` within the subnets' ranges, round and round, so that an address rests before it
 * is given out again. Throws Unavailable when all are used.
 */
export function allocateAddress(subnets: readonly NetworkSubnet[], used: UsedAddresses, after = 0): Lease {
  const candidates = subnets.flatMap((subnet) => rangesOf(subnet).map((range) => ({ subnet, range })));
  for (const lowest of [after + 1, 0]) {
    for (const { subnet, range } of candidates) {
      for (let ip = Math.max(range.base, lowest); ip <= range.last; ip += 1) {
        if (!used.has(ip) && isAssignable(subnet, ip)) return leaseOf(subnet, ip);
      }
    }
  }
  const ranges = subnets.flatMap(({ cidr, ranges: own }) => (own.length > 0 ? own : [cidr])).join(', ');
  throw new WindlassError('Unavailable', `no free address left in ${ranges || 'a network without an IPv4 subnet'}`);
}

/** The asked address, if it belongs to a subnet and is free. Throws Invalid or Conflict that names the holder. */
export function claimAddress(subnets: readonly NetworkSubnet[], used: UsedAddresses, wanted: string): Lease {
  const ip = parseIp(wanted);
  const subnet = subnets.find(({ cidr }) => contains(parseCidr(cidr), ip));
  if (!subnet || !isAssignable(subnet, ip)) {
    const cidrs = subnets.map(({ cidr }) => cidr).join(', ');
    throw new WindlassError('Invalid', `address ${wanted} cannot be given to a container of subnet ${cidrs}`);
  }
  const holder = used.get(ip);
  if (holder !== undefined) throw new WindlassError('Conflict', `address ${wanted} is in use by ${holder}`);
  return leaseOf(subnet, ip);
}

function rangesOf(subnet: NetworkSubnet): Cidr[] {
  return (subnet.ranges.length > 0 ? subnet.ranges : [subnet.cidr]).map(parseCidr);
}

function isAssignable(subnet: NetworkSubnet, ip: number): boolean {
  const { base, last, prefixLength } = parseCidr(subnet.cidr);
  const isReserved = prefixLength < 31 && (ip === base || ip === last);
  return ip >= base && ip <= last && !isReserved && ip !== parseIp(subnet.gateway);
}

function leaseOf(subnet: NetworkSubnet, ip: number): Lease {
  return { ip: formatIp(ip), prefixLength: parseCidr(subnet.cidr).prefixLength, gateway: subnet.gateway };
}

function invalid(text: string, what: string): WindlassError {
  return new WindlassError('Invalid', `invalid ${what} ${JSON.stringify(text)}`);
}
