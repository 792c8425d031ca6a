// Waiting for a state in tests: looked at until it holds, never a guess at how long that takes.

/** Resolves with the first truthy value of `probe`; rejects after `timeoutMs` (10 s unless said) naming `what`, with what `explain` answers. */
export async function waitFor<T>(
  probe: () => T | Promise<T>,
  options: { timeoutMs?: number; intervalMs?: number; what?: string; explain?: () => string } = {},
): Promise<Exclude<T, false | undefined | null | '' | 0>> {
  const timeoutMs = options.timeoutMs ?? 10_000;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value) return value as Exclude<T, false | undefined | null | '' | 0>;
    if (performance.now() > deadline)
      throw new Error(
        `${options.what ?? 'the state waited for'} did not come within ${timeoutMs} ms${options.explain ? `\n${options.explain()}` : ''}`,
      );
    await new Promise((resolve) => setTimeout(resolve, options.intervalMs ?? 25));
  }
}
