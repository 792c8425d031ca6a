// A clock that stands still until a test moves it.
import type { Clock } from '../../lib/clock.ts';

export interface FakeClock extends Clock {
  /** Moves time on and wakes, in order, those whose time has come; lets their continuations run. */
  advance(ms: number): Promise<void>;
}

export function createFakeClock(startMs = Date.UTC(2026, 0, 1)): FakeClock {
  let now = startMs;
  let sleepers: { dueAt: number; wake: () => void }[] = [];
  const settle = async (): Promise<void> => {
    await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    now: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        const abort = (): void => reject(new DOMException('aborted', 'AbortError'));
        if (signal?.aborted) return abort();
        signal?.addEventListener('abort', abort, { once: true });
        sleepers.push({ dueAt: now + ms, wake: resolve });
      }),
    async advance(ms) {
      const end = now + ms;
      await settle();
      for (;;) {
        const next = sleepers.filter(({ dueAt }) => dueAt <= end).toSorted((a, b) => a.dueAt - b.dueAt)[0];
        if (!next) break;
        sleepers = sleepers.filter((sleeper) => sleeper !== next);
        now = Math.max(now, next.dueAt);
        next.wake();
        await settle();
      }
      now = end;
      await settle();
    },
  };
}
