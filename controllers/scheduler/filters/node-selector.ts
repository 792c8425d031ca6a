import type { Filter } from '../filter.ts';

/** The node has all labels of spec.nodeSelector. */
export const nodeSelector: Filter = (container, { node }) => {
  const missing = Object.entries(container.spec.nodeSelector ?? {}).find(
    ([key, value]) => node.metadata.labels?.[key] !== value,
  );
  return missing && { reason: `did not have the label ${missing[0]}=${missing[1]}` };
};
