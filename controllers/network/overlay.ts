// What an overlay has besides a bridge network: an id on the wire, and on every node an address and MAC of the bridge that
// no other node has. Pure.
import type { NetworkStatus } from '../../crds/network.ts';
import { formatIpv4, parseCidr, parseIpv4, type Ipv4Range } from './ipv4.ts';

/** Lower ones are left to what people set up by hand, as with other orchestrators. */
export const VNIS: VniRange = { first: 4096, last: 16_777_215 };
export const DEFAULT_VXLAN_PORT = 4789;

export interface VniRange {
  readonly first: number;
  readonly last: number;
}

/**
 * The VNI of a network: the one it has, unless another network has it; else the next that is free from `start` on, which
 * differs from cluster to cluster, so that those who share a machine stay apart. Undefined when all are taken.
 */
export function planVni(
  current: number | undefined,
  taken: ReadonlySet<number>,
  start: number,
  { first, last }: VniRange = VNIS,
): number | undefined {
  if (current !== undefined && current >= first && current <= last && !taken.has(current)) return current;
  const count = last - first + 1;
  for (let index = 0; index < count; index += 1) {
    const vni = first + ((start + index) % count);
    if (!taken.has(vni)) return vni;
  }
  return undefined;
}

type Subnet = NonNullable<NetworkStatus['subnets']>[number];
type NodeEntry = NonNullable<NetworkStatus['nodes']>[number];

/** The node's own address in the network: the one it has while its blocks hold it, else the lowest usable one of them. */
export function nodeAddress(
  subnet: Subnet,
  ranges: readonly string[],
  current: string | undefined,
): string | undefined {
  const blocks = ranges.map(parseCidr);
  const whole = parseCidr(subnet.cidr);
  const held = parseIpv4(current ?? '');
  if (held !== undefined && blocks.some((block) => isIn(block, held))) return current;
  const unusable = new Set([whole.first, whole.first + whole.size - 1, parseIpv4(subnet.gateway ?? '')]);
  for (const { first, size } of blocks)
    for (let value = first; value < first + size; value += 1) if (!unusable.has(value)) return formatIpv4(value);
  return undefined;
}

const isIn = ({ first, size }: Ipv4Range, value: number): boolean => value >= first && value < first + size;

/** MAC of a node's bridge. Those of containers begin with 02. */
export function nodeMac(ip: string): string {
  const octets = ip.split('.').map((octet) => Number(octet).toString(16).padStart(2, '0'));
  return `0a:00:${octets.join(':')}`;
}

/** What two endpoints have in common that only one can have, in words; undefined when there is no such thing. */
export function findClash(
  endpoints: NonNullable<NetworkStatus['endpoints']>,
  nodes: readonly Pick<NodeEntry, 'name' | 'ipv4Address'>[],
): string | undefined {
  const holders = new Map(nodes.map(({ name, ipv4Address }) => [ipv4Address ?? '', `node ${name}`]));
  holders.delete('');
  for (const { container, ipv4Address, ipv6Address, macAddress } of endpoints) {
    for (const address of [ipv4Address, ipv6Address, macAddress?.toLowerCase()]) {
      if (address === undefined) continue;
      const other = holders.get(address);
      if (other !== undefined) return `${address} is that of ${other} and of container ${container}`;
      holders.set(address, `container ${container}`);
    }
  }
  return undefined;
}
