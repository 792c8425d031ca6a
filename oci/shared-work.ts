// Work that several callers want at once is done once: the pull of one reference, the download of one digest.

export interface SharedWork<T> {
  /**
   * Joins the work named `key`, or starts it. `signal` ends the waiting of this caller only; the work itself is
   * aborted when nobody waits for it any more.
   */
  join(key: string, signal: AbortSignal, start: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

interface Flight<T> {
  readonly promise: Promise<T>;
  readonly stop: AbortController;
  waiters: number;
}

/** Creates an empty table of running work. */
export function createSharedWork<T>(): SharedWork<T> {
  const flights = new Map<string, Flight<T>>();
  return {
    async join(key, signal, start) {
      signal.throwIfAborted();
      let flight = flights.get(key);
      // Work that was stopped may still be writing: a newcomer waits until it is over, and begins its own.
      while (flight?.stop.signal.aborted) {
        await settled(flight.promise, signal);
        flight = flights.get(key);
      }
      if (flight === undefined) {
        const stop = new AbortController();
        flight = { stop, waiters: 0, promise: start(stop.signal) };
        flights.set(key, flight);
        const forget = (): void => void flights.delete(key);
        flight.promise.then(forget, forget);
      }
      return await wait(flight, signal);
    },
  };
}

/** Resolves when the promise has, whatever came of it; rejects when `signal` fires. */
async function settled(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([promise.catch(() => undefined), aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  signal.throwIfAborted();
}

async function wait<T>(flight: Flight<T>, signal: AbortSignal): Promise<T> {
  flight.waiters += 1;
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([flight.promise, aborted]);
  } finally {
    if (onAbort) signal.removeEventListener('abort', onAbort);
    flight.waiters -= 1;
    if (flight.waiters === 0 && signal.aborted) flight.stop.abort(signal.reason);
  }
}
