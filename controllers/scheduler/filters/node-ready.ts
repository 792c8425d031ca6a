import type { Filter } from '../filter.ts';

/** The node says of itself, and node-lifecycle does not deny, that it is Ready. */
export const nodeReady: Filter = (_container, { node }) => {
  const ready = node.status?.conditions?.find(({ type }) => type === 'Ready');
  if (ready?.status === 'True') return undefined;
  return { reason: 'were not ready', ...(ready?.message ? { detail: ready.message } : {}) };
};
