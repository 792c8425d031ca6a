import type { Taint } from '../../../crds/builtin.ts';
import type { Filter } from '../filter.ts';
import { tolerates, UNSCHEDULABLE_TAINT } from './taints.ts';

const CORDONED: Taint = { key: UNSCHEDULABLE_TAINT, effect: 'NoSchedule' };

/** The node is not cordoned, or the container tolerates the taint that stands for it. */
export const nodeSchedulable: Filter = ({ spec }, { node }) =>
  node.spec?.unschedulable === true && !spec.tolerations?.some((toleration) => tolerates(toleration, CORDONED))
    ? { reason: 'were unschedulable (cordoned)' }
    : undefined;
