// The addresses by which other machines reach this one: what --node-ip says, checked against what the machine has.
import { isIP } from 'node:net';
import { networkInterfaces, type NetworkInterfaceInfo } from 'node:os';
import { WindlassError } from './errors.ts';

/** As os.networkInterfaces() answers. */
export type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

/**
 * Reads the text of a --node-ip flag: one address, or one of each family with a comma between them.
 * Throws BadRequest that quotes what is wrong.
 */
export function parseNodeIps(text: string): string[] {
  const addresses = text.split(',').map((each) => each.trim());
  const families = addresses.map((address) => isIP(address));
  for (const [index, address] of addresses.entries()) {
    if (families[index] === 0) throw refuse(address, 'is not an IP address');
    const why = unusable(address);
    if (why !== undefined) throw refuse(address, why);
  }
  if (new Set(families).size < families.length) {
    throw refuse(
      text,
      'names several addresses of one family: want one IPv4 address, one IPv6 address, or one of each',
    );
  }
  return addresses;
}

/** The name of the link that has `address`; undefined when this machine has no such address. */
export function linkOfAddress(address: string, interfaces: Interfaces = networkInterfaces()): string | undefined {
  const wanted = canonicalAddress(address);
  return Object.entries(interfaces).find(([, list]) =>
    list?.some((one) => canonicalAddress(one.address) === wanted),
  )?.[0];
}

/** Throws BadRequest when one of `addresses` is none of this machine's. */
export function requireOwnAddresses(addresses: readonly string[], interfaces: Interfaces = networkInterfaces()): void {
  const stranger = addresses.find((address) => linkOfAddress(address, interfaces) === undefined);
  if (stranger === undefined) return;
  const own = Object.values(interfaces).flatMap((list) => (list ?? []).filter(({ internal }) => !internal));
  const has = own.map(({ address }) => address).join(', ') || 'none';
  throw refuse(stranger, `is not an address of this machine (it has ${has})`);
}

/** Whether other machines may reach one by `address`. */
export const isReachable = (address: string): boolean => isIP(address) !== 0 && unusable(address) === undefined;

/** Every address of this machine by which others may reach it. */
export function ownAddresses(interfaces: Interfaces = networkInterfaces()): string[] {
  const all = Object.values(interfaces).flatMap((list) => list ?? []);
  return all.map(({ address }) => address).filter((address) => unusable(address) === undefined);
}

/** The first IPv4 address that is not the loopback's; loopback when there is no other. */
export function firstOwnAddress(interfaces: Interfaces = networkInterfaces()): string {
  const all = Object.values(interfaces).flatMap((list) => list ?? []);
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1';
}

// Others cannot reach any of these.
function unusable(address: string): string | undefined {
  const plain = canonicalAddress(address);
  if (plain === '0.0.0.0' || plain === '[::]') return 'stands for all addresses: want one';
  if (plain.startsWith('127.') || plain === '[::1]') return 'is a loopback address: other machines cannot reach it';
  if (/^(22[4-9]|23\d)\./.test(plain) || plain.startsWith('[ff')) return 'is a multicast address';
  if (address.includes('%') || /^\[fe[89ab]/.test(plain))
    return 'is a link-local address: want one that needs no interface name';
  return undefined;
}

/** The one spelling of an IPv6 address, in brackets; anything else as it is. */
// The URL parser writes every spelling the same way.
export const canonicalAddress = (address: string): string =>
  isIP(address) === 6 && !address.includes('%') ? new URL(`http://[${address}]`).hostname : address;

const refuse = (text: string, why: string): WindlassError =>
  new WindlassError('BadRequest', `--node-ip ${text} ${why}`);
