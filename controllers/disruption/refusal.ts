// How an eviction is refused: for now, by a budget that has nothing left, or until somebody mends it, by more than one.
import { messageOf, reasonOf, WindlassError } from '../../lib/errors.ts';

/** Whether `error` says that the Container stays, and nothing is wrong with the server. */
export function isEvictionRefused(error: unknown): boolean {
  const reason = reasonOf(error);
  return reason === 'TooManyRequests' || (reason === 'Internal' && /PodDisruptionBudget/.test(messageOf(error)));
}

/** What the budget said, in place of the general sentence. */
export function refusalOf(error: unknown): string {
  const causes = error instanceof WindlassError ? error.details.causes : undefined;
  return causes?.[0]?.message ?? messageOf(error);
}
