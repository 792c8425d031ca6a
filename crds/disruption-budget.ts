// policy/v1 PodDisruptionBudget, upstream's group and shape; its pods are the Containers of its namespace.
// https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/pod-disruption-budget-v1/
import type { Container } from './container.ts';
import type { Condition, KindName, KubernetesObject } from './kind.ts';
import { matchesSelector, type LabelSelector } from './label-selector.ts';

export interface DisruptionBudget extends KubernetesObject {
  spec?: {
    minAvailable?: number | string | null;
    maxUnavailable?: number | string | null;
    selector?: LabelSelector | null;
    unhealthyPodEvictionPolicy?: 'IfHealthyBudget' | 'AlwaysAllow' | null;
  };
  status?: DisruptionBudgetStatus;
}

export interface DisruptionBudgetStatus {
  observedGeneration?: number;
  /** Evictions that were granted and not seen done yet: name of the Container -> when. */
  disruptedPods?: Record<string, string> | null;
  /**
   * Not upstream's: the UIDs of those. A slot keeps its name, and its next Container may be Ready within the second of the
   * eviction, so that no time tells the two apart.
   */
  disruptedUIDs?: Record<string, string> | null;
  disruptionsAllowed?: number;
  currentHealthy?: number;
  desiredHealthy?: number;
  expectedPods?: number;
  conditions?: Condition[];
}

export const disruptionBudgetKind: KindName & { readonly type?: DisruptionBudget } = {
  group: 'policy',
  version: 'v1',
  kind: 'PodDisruptionBudget',
  plural: 'poddisruptionbudgets',
  namespaced: true,
};

/** Its two limits, of which a client may write the absent one as null. */
export function limitsOf({ spec }: DisruptionBudget): {
  readonly minAvailable: number | string | undefined;
  readonly maxUnavailable: number | string | undefined;
} {
  return { minAvailable: spec?.minAvailable ?? undefined, maxUnavailable: spec?.maxUnavailable ?? undefined };
}

/** Whether `budget` is about `container`. */
export const isBudgetOf = (budget: DisruptionBudget, { metadata }: Pick<Container, 'metadata'>): boolean =>
  budget.metadata.namespace === metadata.namespace && matchesSelector(budget.spec?.selector, metadata.labels);

/** What is over, not running yet or going anyway costs no budget. */
export function isBeyondBudgets({ metadata, status }: Container): boolean {
  const phase = status?.phase ?? 'Pending';
  return (
    metadata.deletionTimestamp !== undefined ||
    phase === 'Succeeded' ||
    phase === 'Failed' ||
    phase === 'Pending' ||
    phase === 'Created'
  );
}

/** Whether the Container counts as a healthy pod. */
export const isHealthy = ({ metadata, status }: Container): boolean =>
  metadata.deletionTimestamp === undefined &&
  (status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True') ?? false);
