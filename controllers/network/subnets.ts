// Which IPv4 ranges a network gets: its own wish if it has one, else the next free range of the pool.
import type { Network } from '../../crds/network.ts';
import { contains, formatCidr, formatIpv4, overlaps, parseCidr, parseIpv4, type Ipv4Range } from './ipv4.ts';
import { isIpv6Subnet } from './ipv6-subnet.ts';
import type { Subnet, SubnetPlan, TakenRange } from './subnet-plan.ts';

const POOL = parseCidr('10.128.0.0/10');
const SUBNET_PREFIX = 20;
/** Too small for a gateway, a block of addresses and a virtual IP. */
const SMALLEST_PREFIX = 29;

export interface SubnetOptions {
  /**
   * Where in the pool the search starts, a whole number: clusters that start elsewhere stay apart on a machine that
   * several of them share, also before their bridges show in its routes.
   */
  readonly start?: number;
}

/** The IPv4 subnets of `network`: those it has are kept, unless no node has used them yet and they turn out to be taken. */
export function planSubnets(
  network: Network,
  taken: readonly TakenRange<Ipv4Range>[],
  { start = 0 }: SubnetOptions = {},
): SubnetPlan {
  const wanted = (network.spec.subnets ?? []).filter((subnet) => !isIpv6Subnet(subnet));
  const existing = (network.status?.subnets ?? []).filter((subnet) => !isIpv6Subnet(subnet));
  // Once a node has it, it stays: a range that clashes later is the newcomer's problem.
  const isSame = wanted.every(({ cidr }, index) => existing[index]?.cidr === cidr);
  const isMovable =
    wanted.length === 0 && !network.status?.nodes?.some(({ bridge, ipv4Address }) => bridge || ipv4Address);
  const isClear = existing.every(({ cidr }) => !taken.some(({ range }) => overlaps(parseCidr(cidr), range)));
  if (existing.length > 0 && isSame && (isClear || !isMovable)) return { kind: 'allocated', subnets: existing };
  if (wanted.length > 0) return planWantedSubnets(network.spec.subnets ?? [], taken);
  const size = 2 ** (32 - SUBNET_PREFIX);
  const count = POOL.size / size;
  for (let index = 0; index < count; index += 1) {
    const first = POOL.first + ((start + index) % count) * size;
    const range = { first, size, prefixLength: SUBNET_PREFIX };
    if (taken.some((other) => overlaps(range, other.range))) continue;
    return { kind: 'allocated', subnets: [{ cidr: formatCidr(range), gateway: formatIpv4(first + 1) }] };
  }
  const holders = taken.filter(({ range }) => overlaps(range, POOL)).map(({ holder }) => holder);
  return {
    kind: 'refused',
    reason: 'PoolExhausted',
    message: `no /${SUBNET_PREFIX} is left in ${formatCidr(POOL)}, used by ${summarise(holders)}: give spec.subnets or delete networks`,
  };
}

function planWantedSubnets(wanted: readonly Subnet[], taken: readonly TakenRange<Ipv4Range>[]): SubnetPlan {
  const subnets: Subnet[] = [];
  for (const [index, { cidr, gateway, ipRange }] of wanted.entries()) {
    if (isIpv6Subnet({ cidr })) continue;
    const path = `spec.subnets[${index}]`;
    const refuse = (message: string): SubnetPlan => ({ kind: 'refused', reason: 'InvalidSubnet', message });
    const range = parseCidr(cidr);
    if (formatCidr(range) !== cidr)
      return refuse(`${path}.cidr: ${cidr} has bits after its prefix, want ${formatCidr(range)}`);
    if (range.prefixLength > SMALLEST_PREFIX || range.prefixLength < 8) {
      return refuse(`${path}.cidr: ${cidr} must have a prefix length from 8 to ${SMALLEST_PREFIX}`);
    }
    const gatewayValue = gateway === undefined ? range.first + 1 : parseIpv4(gateway);
    if (gatewayValue === undefined || gatewayValue <= range.first || gatewayValue >= range.first + range.size - 1) {
      return refuse(`${path}.gateway: ${gateway ?? ''} is not a usable address of ${cidr}`);
    }
    if (ipRange !== undefined && (isIpv6Subnet({ cidr: ipRange }) || !contains(range, parseCidr(ipRange))))
      return refuse(`${path}.ipRange: ${ipRange} is not in ${cidr}`);
    const clash = [
      ...taken,
      ...subnets.map((other) => ({ range: parseCidr(other.cidr), holder: 'this Network itself' })),
    ].find((other) => overlaps(range, other.range));
    if (clash) {
      return {
        kind: 'refused',
        reason: 'SubnetOverlap',
        message: `${path}.cidr: ${cidr} overlaps ${formatCidr(clash.range)} of ${clash.holder}`,
      };
    }
    subnets.push({ cidr, gateway: formatIpv4(gatewayValue), ...(ipRange === undefined ? {} : { ipRange }) });
  }
  return { kind: 'allocated', subnets };
}

function summarise(holders: readonly string[]): string {
  const shown = [...new Set(holders)].slice(0, 5);
  const more = new Set(holders).size - shown.length;
  return `${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
