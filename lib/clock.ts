// Time as a dependency, so that tests decide what time it is.
import { setTimeout as sleep } from 'node:timers/promises';

export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Resolves after `ms`; rejects with an AbortError when `signal` fires first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: async (ms, signal) => {
    for (const part of timerParts(ms)) await sleep(part, undefined, signal ? { signal } : {});
  },
};

/** What a timer of Node can wait: it takes a longer delay for 1 ms. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** `ms` as delays that a timer can wait, one after the other. */
export function* timerParts(ms: number): Generator<number> {
  let left = ms;
  for (; left > LONGEST_TIMER_MS; left -= LONGEST_TIMER_MS) yield LONGEST_TIMER_MS;
  yield left;
}

/** RFC 3339 in whole seconds, the form Kubernetes' metav1.Time has on the wire. */
export function rfc3339(ms: number): string {
  return new Date(Math.floor(ms / 1000) * 1000).toISOString().replace('.000Z', 'Z');
}

/** RFC 3339 with microseconds, the form of metav1.MicroTime (Lease, events.k8s.io Event). */
export function rfc3339Micro(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}

/** A moment for the name of a file, sorted by name as by time: `20260131T120000Z`. */
export const compactTime = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19).replace(/[-:]/g, '')}Z`;
