import { controllerOf } from '../../runtime/object-key.ts';
import type { Filter } from '../filter.ts';

/** At most placement.maxPerNode containers of one Service are on a node. */
export const maxPerNode: Filter = (container, node) => {
  const most = container.spec.placement?.maxPerNode ?? 0;
  const owner = controllerOf(container)?.uid;
  if (most === 0 || owner === undefined) return undefined;
  return (node.owners.get(owner) ?? 0) >= most ? { reason: `already had ${most} of its Service` } : undefined;
};
