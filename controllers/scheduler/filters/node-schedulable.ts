import type { Filter } from '../filter.ts';

/** The node is not cordoned. */
export const nodeSchedulable: Filter = (_container, { node }) =>
  node.spec?.unschedulable === true ? { reason: 'were unschedulable (cordoned)' } : undefined;
