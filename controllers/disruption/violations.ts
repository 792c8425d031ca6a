// What it would cost the disruption budgets if Containers went without asking them.
import type { Container } from '../../crds/container.ts';
import { isBudgetOf, type DisruptionBudget } from '../../crds/disruption-budget.ts';

/** Those of `containers` that, gone in this order, take more than a budget allows now. */
export function beyondBudgets<T extends Pick<Container, 'metadata'>>(
  containers: readonly T[],
  budgets: readonly DisruptionBudget[],
): ReadonlySet<T> {
  const left = new Map(budgets.map((budget) => [budget, budget.status?.disruptionsAllowed ?? 0]));
  const inNamespace = Map.groupBy(budgets, ({ metadata }) => metadata.namespace);
  const beyond = new Set<T>();
  for (const container of containers) {
    for (const budget of inNamespace.get(container.metadata.namespace) ?? []) {
      // One that was granted to go already is paid for.
      const isGranted = Object.hasOwn(budget.status?.disruptedPods ?? {}, container.metadata.name);
      if (!isBudgetOf(budget, container) || isGranted) continue;
      const allowed = left.get(budget) ?? 0;
      left.set(budget, allowed - 1);
      if (allowed <= 0) beyond.add(container);
    }
  }
  return beyond;
}
