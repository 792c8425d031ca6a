// Whether a disruption budget lets a Container be evicted. Pure; the handler writes what is decided here.
// https://kubernetes.io/docs/tasks/run-application/configure-pdb/
import type { Container } from '../../crds/container.ts';
import {
  isBeyondBudgets,
  isBudgetOf,
  isHealthy,
  type DisruptionBudget,
  type DisruptionBudgetStatus,
} from '../../crds/disruption-budget.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { WindlassError } from '../../lib/errors.ts';

/** Evictions of one budget that are not seen done yet: more means that nobody counts them. */
const MAX_DISRUPTED = 2000;

export type Verdict =
  /** No budget is about it. */
  | { readonly kind: 'free' }
  /** It costs nothing as long as it is as it was seen. */
  | { readonly kind: 'as-seen' }
  /** One disruption of this budget has to be spent first. */
  | { readonly kind: 'spend'; readonly budget: DisruptionBudget };

/**
 * What evicting `container` takes. Throws Internal when more than one budget is about it, as upstream: which of them to
 * spend first could not be undone when the next one refuses.
 */
export function judgeEviction(container: Container, budgets: readonly DisruptionBudget[]): Verdict {
  if (isBeyondBudgets(container)) return { kind: 'as-seen' };
  const [budget, ...others] = budgets.filter((each) => isBudgetOf(each, container));
  if (!budget) return { kind: 'free' };
  if (others.length > 0) {
    const names = [budget, ...others].map(({ metadata }) => metadata.name).join(', ');
    throw new WindlassError(
      'Internal',
      `This pod has more than one PodDisruptionBudget, which the eviction subresource does not support: ${names}`,
    );
  }
  if (isHealthy(container)) return { kind: 'spend', budget };
  if (budget.spec?.unhealthyPodEvictionPolicy === 'AlwaysAllow') return { kind: 'as-seen' };
  const { currentHealthy = 0, desiredHealthy = 0 } = budget.status ?? {};
  return currentHealthy >= desiredHealthy && desiredHealthy > 0 ? { kind: 'as-seen' } : { kind: 'spend', budget };
}

/**
 * `budget` (a private copy) with one disruption less, on which the Container is noted. Throws TooManyRequests when it
 * has none left. Written on the condition that the budget is still this one, two evictions cannot spend the same.
 */
export function spendDisruption(
  budget: DisruptionBudget,
  { name, uid = '' }: Container['metadata'],
  now: number,
): DisruptionBudget {
  const { status = {}, metadata } = budget;
  const { disruptionsAllowed = 0, disruptedPods, disruptedUIDs } = status;
  if ((status.observedGeneration ?? 0) < (metadata.generation ?? 0)) {
    throw exhausted(`The disruption budget ${metadata.name} is still being processed by the server.`);
  }
  if (Object.keys(disruptedPods ?? {}).length > MAX_DISRUPTED) {
    throw new WindlassError(
      'Forbidden',
      'DisruptedPods map too big - too many evictions not confirmed by PDB controller',
      { details: { name, kind: 'pods' } },
    );
  }
  if (disruptionsAllowed <= 0) throw exhausted(`The disruption budget ${metadata.name} ${whyExhausted(status)}`);
  return {
    ...budget,
    status: {
      ...status,
      disruptionsAllowed: disruptionsAllowed - 1,
      disruptedPods: { ...disruptedPods, [name]: rfc3339(now) },
      disruptedUIDs: { ...disruptedUIDs, [name]: uid },
    },
  };
}

function whyExhausted({ desiredHealthy = 0, currentHealthy = 0, conditions }: DisruptionBudgetStatus): string {
  const condition = conditions?.find(({ type, status }) => type === 'DisruptionAllowed' && status === 'False');
  // The numbers mean nothing when they could not be calculated.
  if (condition?.reason === 'SyncFailed') {
    return `does not allow evicting pods currently because it failed sync: ${condition.message}`;
  }
  if (currentHealthy <= desiredHealthy) {
    return `needs ${desiredHealthy} healthy pods and has ${currentHealthy} currently`;
  }
  // What others spent is not counted as gone yet, or the budget expects nothing at all.
  return `does not allow evicting pods currently${condition?.message ? ` (${condition.reason}): ${condition.message}` : ''}`;
}

function exhausted(cause: string): WindlassError {
  return new WindlassError('TooManyRequests', "Cannot evict pod as it would violate the pod's disruption budget.", {
    // Without a time: clients that wait by themselves (kubectl drain) know how long, others must not hammer.
    details: { retryAfterSeconds: 0, causes: [{ reason: 'DisruptionBudget', message: cause }] },
  });
}
