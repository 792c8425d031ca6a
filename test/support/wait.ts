// Waiting for a state in tests: looked at until it holds, never a guess at how long that takes.

const LAST_PROBE_MS = 5000;

/**
 * Resolves with the first truthy value of `probe`; rejects after `timeoutMs` (10 s unless said) naming `what`, with what
 * `explain` answers. A probe that does not return is not waited for: the error says so.
 */
export async function waitFor<T>(
  probe: () => T | Promise<T>,
  options: { timeoutMs?: number; intervalMs?: number; what?: string; explain?: () => string } = {},
): Promise<Exclude<T, false | undefined | null | '' | 0>> {
  const timeoutMs = options.timeoutMs ?? 10_000;
  const deadline = performance.now() + timeoutMs;
  const late = (how: string): Error =>
    new Error(
      `${options.what ?? 'the state waited for'} did not come within ${timeoutMs} ms${how}` +
        (options.explain ? `\n${options.explain()}` : ''),
    );
  for (let probes = 1; ; probes += 1) {
    // One that begins just before the deadline still has time to answer.
    const patienceMs = Math.max(deadline - performance.now(), Math.min(timeoutMs, LAST_PROBE_MS));
    const value = await within(probe(), patienceMs, () => late(`: probe ${probes} has not returned by then`));
    if (value) return value as Exclude<T, false | undefined | null | '' | 0>;
    if (performance.now() > deadline) throw late('');
    await new Promise((resolve) => setTimeout(resolve, options.intervalMs ?? 25));
  }
}

/** What `answer` resolves with; rejects with what `late` says when that takes longer. */
async function within<T>(answer: T | Promise<T>, patienceMs: number, late: () => Error): Promise<T> {
  if (!(answer instanceof Promise)) return answer;
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(late()), patienceMs);
  try {
    return await Promise.race([answer, promise]);
  } finally {
    clearTimeout(timer);
  }
}
