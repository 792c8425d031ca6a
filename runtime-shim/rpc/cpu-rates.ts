/** Cores in use, from what was used at the last look. */
export interface CpuRates {
  /** Nanoseconds of CPU per second since the last call with that id; undefined for the first. */
  update(id: string, usageNs: number, nowMs: number): number | undefined;
}

/** A rate over less time than this says nothing: the one before is given again. */
const MIN_RATE_MS = 100;
/** More than a node has containers; the one not looked at for longest is forgotten then. */
const MAX_RATES = 10_000;

export function createCpuRates(): CpuRates {
  const last = new Map<string, { usageNs: number; atMs: number; rate: number | undefined }>();
  return {
    update(id, usageNs, nowMs) {
      const before = last.get(id);
      if (before && nowMs - before.atMs < MIN_RATE_MS) return before.rate;
      const rate = before && Math.max(Math.round(((usageNs - before.usageNs) * 1000) / (nowMs - before.atMs)), 0);
      // Removed first, so that the map's order is that of the last look.
      last.delete(id);
      last.set(id, { usageNs, atMs: nowMs, rate });
      const [oldest] = last.keys();
      if (last.size > MAX_RATES && oldest !== undefined) last.delete(oldest);
      return rate;
    },
  };
}
