// How the addresses of a network are divided: 16 blocks, the last for virtual IPs, the others for nodes as they need
// them; of an overlay, which many nodes share, they are cut smaller. A block belongs to one node at a time, so that nodes give out addresses without asking anybody.
import type { Network } from '../../crds/network.ts';
import { formatCidr, formatIpv4, parseCidr, parseIpv4, splitRange, type Ipv4Range } from './ipv4.ts';

const BLOCKS = 16;
/** A smaller network would have blocks of one or two addresses, and its last one only the broadcast address. */
const SMALL_NETWORK = 64;
const BLOCKS_SMALL = 4;
/** Free addresses kept per node beyond its containers, so that a start does not wait for the next block. */
const SPARE_FACTOR = 1.25;
const SPARE_ADDRESSES = 4;

type Subnet = NonNullable<NonNullable<Network['status']>['subnets']>[number];

/** The blocks of a subnet that nodes may have, lowest first; none larger than `largest` addresses (a power of two). */
export function nodeBlocks(subnet: Subnet, largest = Infinity): Ipv4Range[] {
  return allBlocks(subnet)
    .slice(0, -1)
    .flatMap((block) => (block.size > largest ? splitRange(block, block.size / largest) : [block]));
}

/** The block that virtual IPs are taken from. */
export function virtualBlock(subnet: Subnet): Ipv4Range {
  return allBlocks(subnet).at(-1) as Ipv4Range;
}

function allBlocks(subnet: Subnet): Ipv4Range[] {
  const range = parseCidr(subnet.ipRange ?? subnet.cidr);
  return splitRange(range, range.size < SMALL_NETWORK ? BLOCKS_SMALL : BLOCKS);
}

export interface BlockDemand {
  readonly nodeName: string;
  /** Containers of the network on the node. */
  readonly containers: number;
}

export interface BlockRules {
  readonly isGone: (nodeName: string) => boolean;
  /** Blocks of each node with a demand, however small that is. */
  readonly minimumBlocks: number;
  /** See nodeBlocks(). */
  readonly largestBlock?: number;
}

/**
 * Ranges per node: what each has already is kept; one that needs more gets the lowest free blocks. `short` names the
 * nodes that needed more than was left. Nodes without a demand keep what they have until `isGone` says otherwise.
 */
export function assignBlocks(
  subnets: readonly Subnet[],
  current: readonly { readonly name: string; readonly ranges?: readonly string[] | undefined }[],
  demands: readonly BlockDemand[],
  { isGone, minimumBlocks, largestBlock }: BlockRules,
): { ranges: Map<string, string[]>; short: string[] } {
  const blocks = subnets
    .filter(({ cidr }) => !cidr.includes(':'))
    .flatMap((subnet) => nodeBlocks(subnet, largestBlock));
  const valid = new Map(blocks.map((block) => [formatCidr(block), block]));
  const ranges = new Map<string, string[]>();
  const taken = new Set<string>();
  for (const { name, ranges: held } of current) {
    if (isGone(name)) continue;
    const kept = (held ?? []).filter((cidr) => valid.has(cidr) && !taken.has(cidr));
    for (const cidr of kept) taken.add(cidr);
    ranges.set(name, kept);
  }
  const short: string[] = [];
  const free = blocks.map(formatCidr).filter((cidr) => !taken.has(cidr));
  for (const { nodeName, containers } of demands) {
    const held = ranges.get(nodeName) ?? [];
    const needed = Math.ceil(containers * SPARE_FACTOR + SPARE_ADDRESSES);
    let addresses = held.reduce((sum, cidr) => sum + (valid.get(cidr)?.size ?? 0), 0);
    while (addresses < needed || held.length < minimumBlocks) {
      const next = free.shift();
      if (next === undefined) break;
      held.push(next);
      addresses += valid.get(next)?.size ?? 0;
    }
    // Spare addresses are a comfort; only containers without one are worth a complaint.
    if (addresses < containers || held.length === 0) short.push(nodeName);
    ranges.set(nodeName, held);
  }
  return { ranges, short };
}

/** The lowest virtual IP of the network that is not `taken`; undefined when none is left. */
export function nextVirtualIp(subnets: readonly Subnet[], taken: ReadonlySet<string>): string | undefined {
  for (const subnet of subnets) {
    if (subnet.cidr.includes(':')) continue;
    const { first, size } = virtualBlock(subnet);
    const whole = parseCidr(subnet.cidr);
    const broadcast = whole.first + whole.size - 1;
    const gateway = parseIpv4(subnet.gateway ?? '');
    for (let value = first; value < first + size; value += 1) {
      const ip = formatIpv4(value);
      if (value !== broadcast && value !== whole.first && value !== gateway && !taken.has(ip)) return ip;
    }
  }
  return undefined;
}
