// Work of many small synchronous steps on the event loop, which others need as well.
import { setImmediate as nextTurn } from 'node:timers/promises';

const TURN_MS = 5;

/** To be called after each step: gives a promise to wait for once a turn has been used up. Throws when aborted. */
export function createPause(signal: AbortSignal): () => Promise<void> | undefined {
  let end = performance.now() + TURN_MS;
  return () => {
    signal.throwIfAborted();
    if (performance.now() < end) return undefined;
    return nextTurn().then(() => {
      end = performance.now() + TURN_MS;
    });
  };
}
