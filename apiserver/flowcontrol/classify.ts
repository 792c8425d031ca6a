// Which priority level a request belongs to, and which flow within it. The levels, the schemas and the metrics go by the
// names of upstream's defaults, where there is such a one.
// https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#defaults
import { NODES, type Attributes } from '../auth/authorize.ts';
import type { User } from '../auth/user.ts';

export interface PriorityLevel {
  readonly name: string;
  /** Requests of the level that are worked on at the same time. */
  readonly seats: number;
}

/**
 * What is worked on at the same time is small, as all of it shares one thread: what comes last into a level that is free
 * waits for no more than the sum of these.
 */
export const LEVELS = [
  { name: 'leader-election', seats: 10 },
  { name: 'node-high', seats: 40 },
  { name: 'system', seats: 30 },
  { name: 'workload-high', seats: 40 },
  { name: 'global-default', seats: 20 },
  { name: 'workload-low', seats: 6 },
] as const satisfies readonly PriorityLevel[];

export interface Classification {
  readonly level: (typeof LEVELS)[number]['name'];
  readonly schema: string;
  /** Requests of one flow wait behind each other, those of different flows take turns. */
  readonly flow: string;
}

/** User of the controllers' certificate. */
const CONTROLLERS = 'windlass:controllers';

/** Pure; `isNamed` = a list that can find one object at most. */
export function classify(
  user: User,
  { verb, group, resource, name, namespace }: Pick<Attributes, 'verb' | 'group' | 'resource' | 'name' | 'namespace'>,
  { isNamed }: { readonly isNamed: boolean },
): Classification {
  const flow = user.name;
  const isNode = user.groups.includes(NODES);
  const isLease = group === 'coordination.k8s.io' && resource === 'leases';
  // What agents are asked for waits for them, and costs this server little.
  const isCollection = verb === 'deletecollection' || (verb === 'list' && name === '' && !isNamed);
  if (isCollection && group !== 'metrics.k8s.io') {
    return { level: 'workload-low', schema: 'collections', flow };
  }
  if (isNode && (isLease || (group === '' && resource === 'nodes'))) {
    return { level: 'node-high', schema: 'system-node-high', flow };
  }
  if (isLease && namespace !== '') return { level: 'leader-election', schema: 'system-leader-election', flow };
  if (isNode) return { level: 'system', schema: 'system-nodes', flow };
  if (user.name === CONTROLLERS) return { level: 'workload-high', schema: 'windlass-controllers', flow };
  return { level: 'global-default', schema: 'global-default', flow };
}
