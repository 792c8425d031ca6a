import type { Node } from '../../../crds/builtin.ts';
import { formatBytes, parseQuantity } from '../../../lib/quantity.ts';
import { keyOf } from '../../runtime/object-key.ts';
import type { Filter } from '../filter.ts';
import { nomineesBefore, type Claim, type NodeState } from '../node-state.ts';

// Requests are sums of decimal fractions; a ten-millionth of a core is no reason to refuse.
const EPSILON = 1e-7;

/** Requests fit into what the node offers less what is promised already. A node that does not say is unlimited. */
export const resources: Filter = (container, node) => {
  const requests = container.spec.resources?.requests;
  const nominees = nomineesBefore(node, keyOf(container), container.spec.priority);
  const sum = (of: (claim: Claim) => number): number => nominees.reduce((total, claim) => total + of(claim), 0);
  const places = allocatable(node, 'pods');
  if (node.claims.size + nominees.length + 1 > places) return { reason: `had too many containers (${places} at most)` };
  const cpu = requests?.cpu === undefined ? 0 : parseQuantity(requests.cpu);
  const freeCpu = allocatable(node, 'cpu') - node.cpu - sum((claim) => claim.cpu);
  if (cpu > 0 && cpu > freeCpu + EPSILON) {
    return {
      reason: 'had insufficient cpu',
      detail: `needs ${formatCores(cpu)}, ${formatCores(Math.max(0, freeCpu))} free`,
    };
  }
  const memory = requests?.memory === undefined ? 0 : parseQuantity(requests.memory);
  const freeMemory = allocatable(node, 'memory') - node.memory - sum((claim) => claim.memory);
  if (memory > 0 && memory > freeMemory) {
    return {
      reason: 'had insufficient memory',
      detail: `needs ${formatBytes(memory)}, ${formatBytes(Math.max(0, freeMemory))} free`,
    };
  }
  return undefined;
};

type Offered = Readonly<Record<'cpu' | 'memory' | 'pods', number>>;

/** Each placement asks every node several times; a Node says the same until it is another object. */
const offers = new WeakMap<Node, Offered>();

/** What the node offers of a resource; Infinity when it does not say. */
export function allocatable({ node }: NodeState, resource: keyof Offered): number {
  let offered = offers.get(node);
  if (!offered) offers.set(node, (offered = readOffered(node)));
  return offered[resource];
}

function readOffered({ status }: Node): Offered {
  const read = (resource: keyof Offered): number => {
    const text = status?.allocatable?.[resource] ?? status?.capacity?.[resource];
    return text === undefined ? Number.POSITIVE_INFINITY : parseQuantity(text);
  };
  return { cpu: read('cpu'), memory: read('memory'), pods: read('pods') };
}

const formatCores = (cores: number): string =>
  Number.isInteger(cores) ? String(cores) : `${Math.round(cores * 1000)}m`;
