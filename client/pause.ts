import type { Clock } from '../lib/clock.ts';
import { isAbort } from '../lib/errors.ts';

/** Waits `ms`, or until `signal` fires; resolves either way, so a loop checks its signal once, at its head. */
export async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(ms, signal);
  } catch (error) {
    if (!isAbort(error)) throw error;
  }
}
