// Where one container goes, or why it can go nowhere.
import type { Container } from '../../crds/container.ts';
import type { Filter, Misfit, PlacementContext } from './filter.ts';
import { coLocation } from './filters/co-location.ts';
import { constraints } from './filters/constraints.ts';
import { encryption } from './filters/encryption.ts';
import { hostPorts } from './filters/host-ports.ts';
import { maxPerNode } from './filters/max-per-node.ts';
import { nodeReady } from './filters/node-ready.ts';
import { nodeSchedulable } from './filters/node-schedulable.ts';
import { nodeSelector } from './filters/node-selector.ts';
import { platform } from './filters/platform.ts';
import { resources } from './filters/resources.ts';
import { taints } from './filters/taints.ts';
import { volumeLocality } from './filters/volume-locality.ts';
import type { NodeState } from './node-state.ts';
import { chooseNode } from './score.ts';

/** In the order in which they are the better explanation: a port conflict on a node that is down is no news. */
const FILTERS: readonly Filter[] = [
  nodeReady,
  nodeSchedulable,
  taints,
  nodeSelector,
  constraints,
  platform,
  encryption,
  coLocation,
  volumeLocality,
  maxPerNode,
  resources,
  hostPorts,
];

export type Placement =
  | { readonly kind: 'bind'; readonly nodeName: string }
  | { readonly kind: 'unschedulable'; readonly reason: string; readonly message: string };

/** Filters, then scores. */
export function planPlacement(container: Container, nodes: readonly NodeState[], context: PlacementContext): Placement {
  const fitting: NodeState[] = [];
  const misfits: { node: string; misfit: Misfit }[] = [];
  for (const state of nodes) {
    const misfit = firstMisfit(container, state, context);
    if (misfit) misfits.push({ node: state.name, misfit });
    else fitting.push(state);
  }
  if (fitting.length > 0)
    return { kind: 'bind', nodeName: chooseNode(container, fitting, { all: nodes, context }).name };
  return {
    kind: 'unschedulable',
    reason: misfits.find(({ misfit }) => misfit.conditionReason)?.misfit.conditionReason ?? 'Unschedulable',
    message: explain(misfits, nodes.length),
  };
}

/** The first reason why a container cannot run on a node; undefined when it can. */
export function firstMisfit(container: Container, state: NodeState, context: PlacementContext): Misfit | undefined {
  for (const filter of FILTERS) {
    const misfit = filter(container, state, context);
    if (misfit) return misfit;
  }
  return undefined;
}

const MAX_DETAILS = 3;

/** `0/3 nodes are available: 2 node(s) were not ready, 1 node(s) had insufficient cpu (b: needs 2, 1 free)`. */
export function explain(misfits: readonly { node: string; misfit: Misfit }[], total: number): string {
  if (total === 0) return '0/0 nodes are available: no node has joined yet';
  const groups = new Map<string, string[]>();
  for (const { node, misfit } of misfits) {
    const details = groups.get(misfit.reason) ?? [];
    details.push(misfit.detail === undefined ? '' : `${node}: ${misfit.detail}`);
    groups.set(misfit.reason, details);
  }
  const parts = [...groups]
    .toSorted(([a, x], [b, y]) => y.length - x.length || a.localeCompare(b))
    .map(([reason, details]) => {
      const told = details.filter((detail) => detail !== '').slice(0, MAX_DETAILS);
      return `${details.length} node(s) ${reason}${told.length > 0 ? ` (${told.join('; ')})` : ''}`;
    });
  return `0/${total} nodes are available: ${parts.join(', ')}`;
}
