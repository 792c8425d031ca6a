/** What a writable layer takes on disk. */
export interface Usage {
  readonly usedBytes: number;
  readonly inodes: number;
}

/** An answer holds for this many times as long as it took to find: looking takes a tenth of the time at most. */
const REST_FACTOR = 10;

/**
 * `measure`, but calls that overlap share one run, and what took long is not measured again at once: a layer with a
 * million files must not keep the disk busy for every reader of statistics.
 */
export function createUsageCache(
  measure: (id: string) => Promise<Usage>,
  now: () => number = () => performance.now(),
): { usage(id: string): Promise<Usage>; forget(id: string): void } {
  const known = new Map<string, { answer: Promise<Usage>; validUntil: number }>();
  return {
    usage(id) {
      const entry = known.get(id);
      if (entry && now() < entry.validUntil) return entry.answer;
      const start = now();
      const fresh = { answer: measure(id), validUntil: Number.POSITIVE_INFINITY };
      known.set(id, fresh);
      fresh.answer.then(
        () => {
          fresh.validUntil = now() + (now() - start) * REST_FACTOR;
        },
        () => {
          if (known.get(id) === fresh) known.delete(id);
        },
      );
      return fresh.answer;
    },
    forget: (id) => void known.delete(id),
  };
}
