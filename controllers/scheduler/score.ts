// Which of the nodes that fit is best: spread first, then the least loaded.
import type { Container } from '../../crds/container.ts';
import { controllerOf } from '../runtime/object-key.ts';
import { allocatable } from './filters/resources.ts';
import type { NodeState } from './ledger.ts';

/** The best of `fitting` (not empty). `all` are the nodes over which a spread is counted. */
export function chooseNode(container: Container, fitting: readonly NodeState[], all: readonly NodeState[]): NodeState {
  const owner = controllerOf(container)?.uid ?? '';
  const domains = (container.spec.placement?.spread ?? []).map((label) => countByLabel(label, owner, all));
  const score = (state: NodeState): number[] => [
    ...domains.map(({ label, counts }) => counts.get(state.node.metadata.labels?.[label] ?? '') ?? 0),
    owner === '' ? 0 : (state.owners.get(owner) ?? 0),
    avoidedTaints(state),
    load(state),
    state.claims.size,
  ];
  let best = fitting[0] as NodeState;
  let bestScore = score(best);
  for (const candidate of fitting.slice(1)) {
    const candidateScore = score(candidate);
    if (isLess(candidateScore, bestScore)) {
      best = candidate;
      bestScore = candidateScore;
    }
  }
  return best;
}

function countByLabel(
  label: string,
  owner: string,
  nodes: readonly NodeState[],
): { label: string; counts: Map<string, number> } {
  const counts = new Map<string, number>();
  for (const { node, owners } of nodes) {
    const value = node.metadata.labels?.[label] ?? '';
    counts.set(value, (counts.get(value) ?? 0) + (owners.get(owner) ?? 0));
  }
  return { label, counts };
}

const avoidedTaints = ({ node }: NodeState): number =>
  (node.spec?.taints ?? []).filter(({ effect }) => effect === 'PreferNoSchedule').length;

/** The larger of the promised parts of CPU and memory, in steps of 1 %, so that small differences do not decide. */
function load(state: NodeState): number {
  const part = (used: number, offered: number): number =>
    Number.isFinite(offered) && offered > 0 ? used / offered : 0;
  return Math.round(
    100 * Math.max(part(state.cpu, allocatable(state, 'cpu')), part(state.memory, allocatable(state, 'memory'))),
  );
}

function isLess(a: readonly number[], b: readonly number[]): boolean {
  for (const [index, value] of a.entries()) {
    const other = b[index] ?? 0;
    if (value !== other) return value < other;
  }
  return false;
}
