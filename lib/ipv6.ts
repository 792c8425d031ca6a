// IPv6 ranges as numbers, and the rule by which a container gets its address: of the range that a network has for them, the
// last 32 bits are the container's IPv4 address on that network. Those are unique already, over all nodes; so nothing has
// to be divided or remembered a second time, and no address can be out when the other is not.
import { addressBytes, formatAddress } from './ip-address.ts';
import { WindlassError } from './errors.ts';

export interface Ipv6Range {
  readonly first: bigint;
  readonly last: bigint;
  readonly prefixLength: number;
}

/** A range with room for an IPv4 address behind its prefix. */
export const LONGEST_POOL_PREFIX = 96;
const BITS = 128;

/** The number of an address. Throws Invalid that quotes the text. */
export function parseIpv6(text: string): bigint {
  try {
    const bytes = addressBytes(text);
    if (bytes.length === BITS / 8) return BigInt(`0x${bytes.toString('hex')}`);
  } catch (error) {
    throw new WindlassError('Invalid', `invalid IPv6 address ${JSON.stringify(text)}`, { cause: error });
  }
  throw new WindlassError('Invalid', `invalid IPv6 address ${JSON.stringify(text)}`);
}

/** The address of that number, in its shortest form. */
export const formatIpv6 = (value: bigint): string =>
  formatAddress(Buffer.from(value.toString(16).padStart(BITS / 4, '0'), 'hex'));

/** Parses `fd00:1::/64`; bits after the prefix are cleared. Throws Invalid that quotes the text. */
export function parseIpv6Cidr(text: string): Ipv6Range {
  const [ip = '', length = '', ...rest] = text.split('/');
  const prefixLength = Number(length);
  if (rest.length > 0 || !/^\d{1,3}$/.test(length) || prefixLength > BITS)
    throw new WindlassError('Invalid', `invalid IPv6 range ${JSON.stringify(text)}: want e.g. fd00:1::/64`);
  const size = 1n << BigInt(BITS - prefixLength);
  const first = (parseIpv6(ip) / size) * size;
  return { first, last: first + size - 1n, prefixLength };
}

export const formatIpv6Cidr = ({ first, prefixLength }: Ipv6Range): string => `${formatIpv6(first)}/${prefixLength}`;

export const overlapsIpv6 = (a: Ipv6Range, b: Ipv6Range): boolean => a.first <= b.last && b.first <= a.last;

/** True when the range holds the address, or all of the other range. */
export const containsIpv6 = (outer: Ipv6Range, inner: bigint | Ipv6Range): boolean =>
  typeof inner === 'bigint'
    ? inner >= outer.first && inner <= outer.last
    : inner.first >= outer.first && inner.last <= outer.last;

/** The address, in the pool of a network (at most /96), of what has `ipv4` there. */
export const ipv6Of = (pool: string, ipv4: string): string =>
  formatIpv6(parseIpv6Cidr(pool).first + BigInt(addressBytes(ipv4).readUInt32BE(0)));

/** The number of the IPv4 address whose holder has `ipv6` in the pool; undefined for an address beyond all of those. */
export function ipv4NumberOf(pool: string, ipv6: string): number | undefined {
  const number = parseIpv6(ipv6) - parseIpv6Cidr(pool).first;
  return number >= 0n && number <= 0xffff_ffffn ? Number(number) : undefined;
}

/** The link-local address of a link with that MAC (RFC 4291, appendix A). */
export function linkLocalOf(mac: string): string {
  const [first = 0, ...rest] = mac.split(':').map((pair) => Number.parseInt(pair, 16));
  const identifier = Buffer.from([first ^ 2, ...rest.slice(0, 2), 0xff, 0xfe, ...rest.slice(2)]);
  return formatAddress(Buffer.concat([Buffer.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0), identifier]));
}
