import type { Taint } from '../../../crds/builtin.ts';
import type { Toleration } from '../../../crds/container-process.ts';
import type { Filter } from '../filter.ts';

// `kubectl cordon` sets spec.unschedulable, which has a filter of its own with plainer words.
export const UNSCHEDULABLE_TAINT = 'node.kubernetes.io/unschedulable';

/** Every taint that keeps containers away is tolerated. */
export const taints: Filter = (container, { node }) => {
  const taint = node.spec?.taints?.find(
    (candidate) =>
      candidate.effect !== 'PreferNoSchedule' &&
      candidate.key !== UNSCHEDULABLE_TAINT &&
      !container.spec.tolerations?.some((toleration) => tolerates(toleration, candidate)),
  );
  return taint && { reason: `had the untolerated taint ${formatTaint(taint)}` };
};

/** Upstream's rule: an absent key with Exists matches every taint, an absent effect every effect. */
export function tolerates(toleration: Toleration, taint: Taint): boolean {
  if (toleration.effect !== undefined && toleration.effect !== taint.effect) return false;
  if (toleration.key !== undefined && toleration.key !== '' && toleration.key !== taint.key) return false;
  return toleration.operator === 'Exists' || (toleration.value ?? '') === (taint.value ?? '');
}

const formatTaint = ({ key, value, effect }: Taint): string => `${key}${value ? `=${value}` : ''}:${effect}`;
