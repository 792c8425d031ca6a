// Exponential backoff, as data: the delay for the n-th failure in a row.

export interface BackoffOptions {
  readonly initialMs: number;
  readonly maxMs: number;
  /** Multiplier per failure; 2 unless said. */
  readonly factor?: number;
  /** Part of the delay that is random, 0 to 1; 0 unless said. */
  readonly jitter?: number;
}

/** Delay in ms before try number `failures + 1`, where `failures` is the count of failures in a row (1 or more). */
export function backoffDelayMs(failures: number, options: BackoffOptions, random: () => number = Math.random): number {
  const factor = options.factor ?? 2;
  const raw = options.initialMs * factor ** Math.min(Math.max(failures, 1) - 1, 62);
  const capped = Math.min(raw, options.maxMs);
  const jitter = options.jitter ?? 0;
  return Math.round(capped * (1 - jitter * random()));
}
