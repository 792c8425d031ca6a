import { tolerates } from '../filters/taints.ts';
import type { Score } from '../score.ts';

/** Few taints of effect PreferNoSchedule that the container does not tolerate. */
export const avoidedTaints: Score = (container) => {
  const tolerations = container.spec.tolerations ?? [];
  return ({ node }) => [
    (node.spec?.taints ?? []).filter(
      (taint) => taint.effect === 'PreferNoSchedule' && !tolerations.some((toleration) => tolerates(toleration, taint)),
    ).length,
  ];
};
