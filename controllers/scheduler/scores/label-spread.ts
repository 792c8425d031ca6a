import { controllerOf } from '../../runtime/object-key.ts';
import type { NodeState } from '../node-state.ts';
import type { Score } from '../score.ts';

/** placement.spread: few of the same Service where the node's label has the same value, the first label first. */
export const labelSpread: Score = (container, { all }) => {
  const owner = controllerOf(container)?.uid ?? '';
  const domains = (container.spec.placement?.spread ?? []).map((label) => ({
    label,
    counts: countByLabel(label, owner, all),
  }));
  return ({ node }) => domains.map(({ label, counts }) => counts.get(node.metadata.labels?.[label] ?? '') ?? 0);
};

function countByLabel(label: string, owner: string, nodes: readonly NodeState[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { node, owners } of nodes) {
    const value = node.metadata.labels?.[label] ?? '';
    counts.set(value, (counts.get(value) ?? 0) + (owners.get(owner) ?? 0));
  }
  return counts;
}
