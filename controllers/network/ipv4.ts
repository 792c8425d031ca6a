// IPv4 ranges as numbers: enough arithmetic to carve subnets into blocks.
import { WindlassError } from '../../lib/errors.ts';

/** A CIDR range: `first` is its lowest address, `size` how many addresses it has. */
export interface Ipv4Range {
  readonly first: number;
  readonly size: number;
  readonly prefixLength: number;
}

/** Parses `10.128.0.0/20`; bits below the prefix are cut off. Throws BadRequest that quotes the text. */
export function parseCidr(text: string): Ipv4Range {
  const [address = '', prefix = '', ...rest] = text.split('/');
  const prefixLength = Number(prefix);
  const value = parseIpv4(address);
  if (value === undefined || rest.length > 0 || !/^\d{1,2}$/.test(prefix) || prefixLength > 32) {
    throw new WindlassError('BadRequest', `invalid IPv4 range ${JSON.stringify(text)}: want e.g. 10.50.0.0/24`);
  }
  const size = 2 ** (32 - prefixLength);
  return { first: Math.floor(value / size) * size, size, prefixLength };
}

/** The number of an address; undefined when the text is none. */
export function parseIpv4(text: string): number | undefined {
  const octets = text.split('.');
  if (octets.length !== 4) return undefined;
  let value = 0;
  for (const octet of octets) {
    if (!/^\d{1,3}$/.test(octet) || Number(octet) > 255) return undefined;
    value = value * 256 + Number(octet);
  }
  return value;
}

export function formatIpv4(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}

export const formatCidr = ({ first, prefixLength }: Ipv4Range): string => `${formatIpv4(first)}/${prefixLength}`;

export const overlaps = (a: Ipv4Range, b: Ipv4Range): boolean =>
  a.first < b.first + b.size && b.first < a.first + a.size;

export const contains = (outer: Ipv4Range, inner: Ipv4Range): boolean =>
  inner.first >= outer.first && inner.first + inner.size <= outer.first + outer.size;

/** The range cut into `count` equal parts (a power of two), lowest first; fewer when it is smaller than that. */
export function splitRange(range: Ipv4Range, count: number): Ipv4Range[] {
  const parts = Math.min(count, range.size);
  const size = range.size / parts;
  const prefixLength = 32 - Math.log2(size);
  return Array.from({ length: parts }, (_, index) => ({ first: range.first + index * size, size, prefixLength }));
}
