// By which of their addresses nodes reach each other, and what keeps them from it. Pure.
import { isIPv4 } from 'node:net';

export interface NodeAddresses {
  readonly name: string;
  /** Where other nodes reach it, best first. */
  readonly addresses: readonly string[];
}

export interface Underlays {
  /** Address by which the others reach a node, by its name: of one family for all, as a tunnel has two ends of one. */
  readonly addresses: ReadonlyMap<string, string>;
  /** What keeps nodes from reaching each other, in words. */
  readonly problem?: string;
}

/** Chooses IPv4 where all nodes have it, else IPv6 where all have that. */
export function planUnderlays(nodes: readonly NodeAddresses[]): Underlays {
  const reachable = nodes.filter(({ addresses }) => addresses.length > 0);
  const of = (isWanted: (ip: string) => boolean): (readonly [string, string | undefined])[] =>
    reachable.map(({ name, addresses }) => [name, addresses.find(isWanted)] as const);
  const families = [of(isIPv4), of((ip) => !isIPv4(ip))];
  const whole = families.find((family) => family.every(([, ip]) => ip !== undefined));
  const chosen = whole ?? of(() => true);
  const addresses = new Map(chosen.flatMap(([name, ip]) => (ip === undefined ? [] : [[name, ip] as const])));
  const problem = whole ? findUnreachable(addresses) : describeMixed(families[0] ?? []);
  return { addresses, ...(problem === undefined ? {} : { problem }) };
}

function describeMixed(ipv4: readonly (readonly [string, string | undefined])[]): string {
  const has = ipv4.filter(([, ip]) => ip !== undefined).map(([name]) => name);
  const lacks = ipv4.filter(([, ip]) => ip === undefined).map(([name]) => name);
  return `node ${summariseNames(lacks)} has IPv6 addresses only and node ${summariseNames(has)} has no IPv6 address: give all nodes one family`;
}

function findUnreachable(addresses: ReadonlyMap<string, string>): string | undefined {
  if (addresses.size < 2) return undefined;
  const holders = new Map<string, string>();
  for (const [name, ip] of addresses) {
    if (/^127\.|^::1$/.test(ip)) return `node ${name} has the address ${ip}, which no other node can reach`;
    const other = holders.get(ip);
    if (other !== undefined) return `nodes ${other} and ${name} have one address, ${ip}`;
    holders.set(ip, name);
  }
  return undefined;
}

function summariseNames(names: readonly string[]): string {
  const shown = names.slice(0, 5).join(', ');
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown;
}
