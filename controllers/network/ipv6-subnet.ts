// Which IPv6 range a network with `ipv6` gets: its own wish if it has one, else the next free /64 of the cluster's own /48.
import { createHash } from 'node:crypto';
import type { Network } from '../../crds/network.ts';
import {
  containsIpv6,
  formatIpv6,
  formatIpv6Cidr,
  ipv4NumberOf,
  LONGEST_POOL_PREFIX,
  overlapsIpv6,
  parseIpv6,
  parseIpv6Cidr,
  type Ipv6Range,
} from '../../lib/ipv6.ts';
import { formatIpv4, parseCidr } from './ipv4.ts';
import type { Subnet, SubnetPlan, TakenRange } from './subnet-plan.ts';

/** Networks that the cluster's /48 has room for. */
const COUNT = 0x1_0000n;
const SUBNET_PREFIX = 64;
const SUBNET_SIZE = 1n << BigInt(128 - SUBNET_PREFIX);
const SHORTEST_PREFIX = 8;

export const isIpv6Subnet = ({ cidr }: { readonly cidr: string }): boolean => cidr.includes(':');

/**
 * The cluster's own range: unique local addresses (RFC 4193) whose 40 bits after `fd` come from its identity, so that two
 * clusters can be joined, and those that share a machine stay apart.
 */
export function clusterPrefix(identity: string): Ipv6Range {
  const id = createHash('sha256').update(`windlass ipv6 ${identity}`).digest('hex').slice(0, 10);
  return parseIpv6Cidr(`fd${id.slice(0, 2)}:${id.slice(2, 6)}:${id.slice(6)}::/48`);
}

/**
 * The IPv6 subnet of `network`, whose IPv4 subnets are `ipv4`: the one it has is kept, unless no node has used it yet and
 * it turns out to be taken. A network without IPv6 has none.
 */
export function planIpv6Subnet(
  network: Network,
  { ipv4, taken, prefix }: { ipv4: readonly Subnet[]; taken: readonly TakenRange<Ipv6Range>[]; prefix: Ipv6Range },
): SubnetPlan {
  if (!network.spec.ipv6) return { kind: 'allocated', subnets: [] };
  const wishes = network.spec.subnets ?? [];
  const index = wishes.findIndex(isIpv6Subnet);
  const wanted = wishes[index];
  const existing = network.status?.subnets?.find(isIpv6Subnet);
  const clash = (range: Ipv6Range): TakenRange<Ipv6Range> | undefined =>
    taken.find((other) => overlapsIpv6(range, other.range));
  if (existing) {
    const isUsed = network.status?.nodes?.some(({ bridge, ipv4Address }) => bridge || ipv4Address);
    if (wanted || isUsed || !clash(parseIpv6Cidr(existing.cidr))) return { kind: 'allocated', subnets: [existing] };
  }
  if (wanted) return planWanted(`spec.subnets[${index}]`, wanted, ipv4, clash);
  for (let number = 0n; number < COUNT; number += 1n) {
    const first = prefix.first + number * SUBNET_SIZE;
    const range = { first, last: first + SUBNET_SIZE - 1n, prefixLength: SUBNET_PREFIX };
    if (clash(range)) continue;
    return { kind: 'allocated', subnets: [{ cidr: formatIpv6Cidr(range), gateway: formatIpv6(first + 1n) }] };
  }
  const message = `no /${SUBNET_PREFIX} is left in ${formatIpv6Cidr(prefix)}: give spec.subnets or delete networks`;
  return { kind: 'refused', reason: 'PoolExhausted', message };
}

function planWanted(
  path: string,
  wanted: Subnet,
  ipv4: readonly Subnet[],
  clash: (range: Ipv6Range) => TakenRange<Ipv6Range> | undefined,
): SubnetPlan {
  const refuse = (message: string): SubnetPlan => ({ kind: 'refused', reason: 'InvalidSubnet', message });
  const [range, pool] = [wanted.cidr, wanted.ipRange ?? wanted.cidr].map(read);
  if (!range) return refuse(`${path}.cidr: ${wanted.cidr} is no IPv6 range`);
  if (!pool || !containsIpv6(range, pool)) return refuse(`${path}.ipRange: ${wanted.ipRange} is not in ${wanted.cidr}`);
  if (parseIpv6(wanted.cidr.split('/')[0] ?? '') !== range.first)
    return refuse(`${path}.cidr: ${wanted.cidr} has bits after its prefix, want ${formatIpv6Cidr(range)}`);
  if (range.prefixLength < SHORTEST_PREFIX || pool.prefixLength > LONGEST_POOL_PREFIX) {
    const field = range.prefixLength < SHORTEST_PREFIX || wanted.ipRange === undefined ? 'cidr' : 'ipRange';
    return refuse(
      `${path}.${field}: ${wanted[field]} must have a prefix length from ${SHORTEST_PREFIX} to ${LONGEST_POOL_PREFIX}: an address ends with the 32 bits of the container's IPv4 address`,
    );
  }
  const gateway = wanted.gateway === undefined ? range.first + 1n : readAddress(wanted.gateway);
  if (gateway === undefined || gateway === range.first || !containsIpv6(range, gateway))
    return refuse(`${path}.gateway: ${wanted.gateway ?? ''} is not a usable address of ${wanted.cidr}`);
  const owner = ipv4NumberOf(formatIpv6Cidr(pool), formatIpv6(gateway));
  if (owner !== undefined && ipv4.some(({ cidr }) => holds(cidr, owner)))
    return refuse(`${path}.gateway: ${formatIpv6(gateway)} is kept for the container that has ${formatIpv4(owner)}`);
  const other = clash(range);
  if (other) {
    const message = `${path}.cidr: ${wanted.cidr} overlaps ${formatIpv6Cidr(other.range)} of ${other.holder}`;
    return { kind: 'refused', reason: 'SubnetOverlap', message };
  }
  const ipRange = wanted.ipRange === undefined ? {} : { ipRange: formatIpv6Cidr(pool) };
  return { kind: 'allocated', subnets: [{ cidr: formatIpv6Cidr(range), gateway: formatIpv6(gateway), ...ipRange }] };
}

function holds(cidr: string, address: number): boolean {
  const { first, size } = parseCidr(cidr);
  return address >= first && address < first + size;
}

/** Undefined for what is none: the schema's pattern lets some through. */
function read(cidr: string): Ipv6Range | undefined {
  try {
    return parseIpv6Cidr(cidr);
  } catch {
    return undefined;
  }
}

function readAddress(text: string): bigint | undefined {
  try {
    return parseIpv6(text);
  } catch {
    return undefined;
  }
}
