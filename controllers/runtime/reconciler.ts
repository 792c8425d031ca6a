// The contract between the loop and a controller's own code.
import type { Logger } from '../../lib/log.ts';

/** What to do after a reconciliation that did not throw. Empty: nothing until something changes. */
export interface Result {
  readonly requeueAfterMs?: number;
}

export interface ReconcileOptions {
  readonly signal: AbortSignal;
  /** Carries controller, key and reconcileId. */
  readonly log: Logger;
}

/**
 * Makes the world match the object that `key` names, from whatever state it finds. Safe to call at any time, with a
 * cache that is behind. A throw means try again later; a TerminalError means wait until the object changes.
 */
export type Reconcile = (key: string, options: ReconcileOptions) => Promise<Result>;
