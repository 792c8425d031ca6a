// When this process saw a change that another machine made. What that machine says of the time is by its own clock, which may
// be anywhere: how long ago it was is counted from here.
import type { Clock } from '../../lib/clock.ts';

export interface Sightings {
  /** When `value` was first seen of `key`: now, unless it was asked for before. */
  since(key: string, value: string): number;
  /** Drops what is known of keys that are not among these. */
  retain(keys: ReadonlySet<string>): void;
}

/** Nothing has been seen yet: after a restart all waiting begins anew, which is on the safe side of every wait. */
export function createSightings(clock: Pick<Clock, 'now'>): Sightings {
  const seen = new Map<string, { readonly value: string; readonly at: number }>();
  return {
    since(key, value) {
      const known = seen.get(key);
      if (known?.value === value) return known.at;
      const at = clock.now();
      seen.set(key, { value, at });
      return at;
    },
    retain(keys) {
      for (const key of seen.keys()) if (!keys.has(key)) seen.delete(key);
    },
  };
}
