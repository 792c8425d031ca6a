// One at a time per key: two calls about the same container never interleave.

export interface KeyedQueue {
  /** Runs `task` after every earlier task of the key has ended, whatever came of it. */
  run<T>(key: string, task: () => Promise<T>): Promise<T>;
}

export function createKeyedQueue(): KeyedQueue {
  const tails = new Map<string, Promise<unknown>>();
  return {
    run(key, task) {
      const before = tails.get(key) ?? Promise.resolve();
      const result = before.then(task, task);
      const tail = result
        .catch(() => undefined)
        .finally(() => {
          if (tails.get(key) === tail) tails.delete(key);
        });
      tails.set(key, tail);
      return result;
    },
  };
}

/** Calls with one key that overlap share one run and its outcome. A caller's abort ends its waiting only. */
export interface SharedCalls {
  run<T>(key: string, signal: AbortSignal, task: () => Promise<T>): Promise<T>;
}

export function createSharedCalls(): SharedCalls {
  const running = new Map<string, Promise<unknown>>();
  return {
    async run<T>(key: string, signal: AbortSignal, task: () => Promise<T>): Promise<T> {
      signal.throwIfAborted();
      let shared = running.get(key) as Promise<T> | undefined;
      if (!shared) {
        shared = task().finally(() => running.delete(key));
        // Whoever waits sees the failure; with nobody left it must not count as unhandled.
        shared.catch(() => undefined);
        running.set(key, shared);
      }
      const { promise: left, reject } = Promise.withResolvers<never>();
      const leave = (): void => reject(signal.reason as Error);
      signal.addEventListener('abort', leave, { once: true });
      try {
        return await Promise.race([shared, left]);
      } finally {
        signal.removeEventListener('abort', leave);
      }
    },
  };
}
