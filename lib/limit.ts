// A bound on how many tasks run at once, which lets the largest waiting one go first: small ones then fill the gaps at
// the end, instead of everybody waiting for a large one that began last.

export type Limit = <T>(sizeBytes: number, signal: AbortSignal, task: () => Promise<T>) => Promise<T>;

/** Runs at most `slots` tasks at a time. */
export function createLimit(slots: number): Limit {
  const waiting: { readonly sizeBytes: number; readonly go: () => void }[] = [];
  let running = 0;

  function pump(): void {
    while (running < slots && waiting.length > 0) {
      const largest = waiting.reduce((best, one) => (one.sizeBytes > best.sizeBytes ? one : best));
      waiting.splice(waiting.indexOf(largest), 1);
      running += 1;
      largest.go();
    }
  }

  return async (sizeBytes, signal, task) => {
    await new Promise<void>((resolve) => {
      waiting.push({ sizeBytes, go: resolve });
      // Those that ask in the same tick are compared before the first of them starts.
      queueMicrotask(pump);
    });
    try {
      signal.throwIfAborted();
      return await task();
    } finally {
      running -= 1;
      pump();
    }
  };
}
