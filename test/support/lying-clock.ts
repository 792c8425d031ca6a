// A clock that runs, but ahead of the real one by as much as a test wants, and stands still when it is told to.
import { systemClock, type Clock } from '../../lib/clock.ts';

export interface LyingClock extends Clock {
  /** Goes ahead by `ms` at once; those whose time has come wake. */
  jump(ms: number): void;
  /** Stands still until `goOn()`: what is to last a second lasts until the test has seen it. */
  stop(): void;
  goOn(): void;
}

export function createLyingClock(): LyingClock {
  let aheadMs = 0;
  let stoppedAt: number | undefined;
  const sleepers = new Set<() => void>();
  const now = (): number => (stoppedAt ?? systemClock.now()) + aheadMs;
  return {
    now,
    async sleep(ms, signal) {
      const dueAt = now() + ms;
      while (now() < dueAt) {
        using woken = new DisposableStack();
        const jumped = new AbortController();
        const wake = (): void => jumped.abort();
        sleepers.add(wake);
        woken.defer(() => sleepers.delete(wake));
        const either = signal ? AbortSignal.any([signal, jumped.signal]) : jumped.signal;
        try {
          await systemClock.sleep(dueAt - now(), either);
        } catch (error) {
          if (signal?.aborted || !jumped.signal.aborted) throw error;
        }
      }
    },
    jump(ms) {
      aheadMs += ms;
      for (const wake of [...sleepers]) wake();
    },
    stop() {
      stoppedAt ??= systemClock.now();
    },
    goOn() {
      stoppedAt = undefined;
      for (const wake of [...sleepers]) wake();
    },
  };
}
