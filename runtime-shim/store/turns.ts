// Long stretches of system calls, one per turn of the event loop: when many containers start at once, their steps would
// otherwise run back to back, and nothing else of the process (a log reader, a health check) would be served meanwhile.

export interface Turns {
  /** Resolves in a turn of the event loop that no other caller gets. */
  next(): Promise<void>;
}

export function createTurns(): Turns {
  const waiting: (() => void)[] = [];
  // An immediate that is set by an immediate runs in the next turn.
  const grant = (): void => {
    waiting.shift()?.();
    if (waiting.length > 0) setImmediate(grant);
  };
  return {
    next: () =>
      new Promise((resolve) => {
        waiting.push(resolve);
        if (waiting.length === 1) setImmediate(grant);
      }),
  };
}
