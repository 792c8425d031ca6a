// Which slots a Service should have: the numbers up to replicas, or in mode Global one for each node that fits. All
// else treats the modes alike.
import type { Node } from '../../crds/builtin.ts';
import type { Container, ContainerSpec } from '../../crds/container.ts';
import type { Toleration } from '../../crds/container-process.ts';
import type { Service } from '../../crds/service.ts';
import { shortHash } from '../../lib/instance.ts';
import { isDeleting } from '../runtime/object-key.ts';
import { constraints } from '../scheduler/filters/constraints.ts';
import { nodeSelector } from '../scheduler/filters/node-selector.ts';
import { tolerates } from '../scheduler/filters/taints.ts';
import { emptyNode, type NodeState } from '../scheduler/node-state.ts';
import type { PlacementContext } from '../scheduler/filter.ts';
import { withSlotVolumes } from './slot-volumes.ts';
import { byName, slotNameOf } from './slots.ts';

export interface WantedSlot {
  readonly slot: string;
  /** Mode Global: the node it stands for. */
  readonly nodeName?: string;
  /** That node does not answer. */
  readonly isAway?: boolean;
}

/** What a Container of a Global Service tolerates by itself, as the Pods of a DaemonSet do: it belongs to its node. */
export const GLOBAL_TOLERATIONS: readonly Toleration[] = [
  { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' },
  { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute' },
  { key: 'node.kubernetes.io/disk-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/memory-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/pid-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/unschedulable', operator: 'Exists', effect: 'NoSchedule' },
];
/** node-lifecycle's own, gone when the node is back: no reason to have no slot there. */
const UNREACHABLE = 'node.kubernetes.io/unreachable';
const PASSING_TAINTS = new Set(['node.kubernetes.io/not-ready', UNREACHABLE]);

/** The slots of `service` in the order in which they are updated. `children` are its Containers. */
export function wantedSlots(
  service: Service,
  nodes: readonly Node[],
  children: readonly Container[],
): readonly WantedSlot[] {
  const { mode, replicas } = service.spec;
  if (mode !== 'Global') return Array.from({ length: replicas }, (_, index) => ({ slot: String(index + 1) }));
  const held = new Set(children.filter((child) => !isDeleting(child)).map((child) => slotNameOf(service, child)));
  return nodes
    .map((node) => ({ node, slot: slotOfNode(node.metadata.name) }))
    .filter(({ node, slot }) => isWantedOn(service, node, held.has(slot)))
    .toSorted((a, b) => byName(a.slot, b.slot))
    .map(({ node, slot }) => ({ slot, nodeName: node.metadata.name, ...(isAway(node) ? { isAway: true } : {}) }));
}

const isAway = ({ spec }: Node): boolean => spec?.taints?.some(({ key }) => key === UNREACHABLE) ?? false;

// The rules of a DaemonSet: selector, constraints and taints of the node count, resources and ports do not: a Container
// that finds no room says so. A taint NoSchedule keeps new ones away and leaves the one that is there.
function isWantedOn(service: Service, node: Node, isHeld: boolean): boolean {
  const { spec } = service.spec.template;
  if (isDeleting(node) || (spec.nodeName !== undefined && spec.nodeName !== node.metadata.name)) return false;
  const candidate: Container = { apiVersion: '', kind: 'Container', metadata: { name: '' }, spec };
  const state: NodeState = { ...emptyNode(node.metadata.name), node };
  if ([nodeSelector, constraints].some((filter) => filter(candidate, state, NO_CONTEXT))) return false;
  const tolerations = [...(spec.tolerations ?? []), ...GLOBAL_TOLERATIONS];
  return (node.spec?.taints ?? []).every(
    (taint) =>
      taint.effect === 'PreferNoSchedule' ||
      (taint.effect === 'NoSchedule' && isHeld) ||
      PASSING_TAINTS.has(taint.key) ||
      tolerations.some((toleration) => tolerates(toleration, taint)),
  );
}

/** For filters that look at the node alone. */
const NO_CONTEXT: PlacementContext = {
  volume: () => undefined,
  network: () => undefined,
  container: () => undefined,
  imageOf: () => undefined,
  nodesOfVolume: () => [],
};

/** Longest value of a label. */
const MAX_SLOT_LENGTH = 63;
const HASH_LENGTH = 10;

/**
 * The slot of a node: its name, as far as a label and the name of a Container take it. A name that is a number would be
 * taken for the slot of a Replicated Service.
 */
export function slotOfNode(nodeName: string): string {
  if (nodeName.length <= MAX_SLOT_LENGTH && !/^\d+$/.test(nodeName)) return nodeName;
  const head = nodeName.slice(0, MAX_SLOT_LENGTH - HASH_LENGTH - 1).replace(/[-.]+$/, '');
  return `${head}-${shortHash(nodeName, HASH_LENGTH)}`;
}

/** The spec of a Container for a slot: with its own Volumes, and in mode Global bound by the scheduler to that node and no other. */
export function specForSlot(service: Service, template: ContainerSpec, { slot, nodeName }: WantedSlot): ContainerSpec {
  const spec = withSlotVolumes(template, service, slot);
  if (nodeName === undefined) return spec;
  return {
    ...spec,
    tolerations: [...(spec.tolerations ?? []), ...GLOBAL_TOLERATIONS],
    placement: {
      ...spec.placement,
      constraints: [...(spec.placement?.constraints ?? []), `node.name == ${nodeName}`],
    },
  };
}
