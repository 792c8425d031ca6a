// When a limited layer is measured again. Pure. The file system itself says, at the price of one system call, how much
// was written to it by anybody: as long as that is less than what a container had left, it cannot be above its limit.
import type { LayerLimits } from '../snapshots/layer-quota.ts';
import type { Usage } from '../snapshots/usage-cache.ts';

/** What a file system has in use. */
export interface DiskUse {
  readonly usedBytes: number;
  readonly inodes: number;
}

export interface Measured {
  readonly usage: Usage;
  /** The file system before the layer was looked at. */
  readonly disk: DiskUse;
  readonly atMs: number;
  readonly tookMs: number;
}

/** Files that others delete meanwhile hide what a container writes: it is looked at after this time in any case. */
const MAX_REST_MS = 10_000;
/** Of a layer that the kernel holds: only whoever takes its files out of the project could be above the limit. */
const HELD_REST_MS = 60_000;
/** The share of one processor that measuring may take is one in four, one in ten when nothing hurries. */
const HURRIED_FACTOR = 3;
const CALM_FACTOR = 10;

export function isDue(last: Measured | undefined, limits: LayerLimits, disk: DiskUse, nowMs: number, isHeld: boolean) {
  if (!last) return !isHeld;
  const restedMs = nowMs - last.atMs;
  if (restedMs >= Math.max(isHeld ? HELD_REST_MS : MAX_REST_MS, CALM_FACTOR * last.tookMs)) return true;
  if (isHeld || restedMs < HURRIED_FACTOR * last.tookMs) return false;
  return (
    disk.usedBytes - last.disk.usedBytes > (limits.bytes ?? Number.POSITIVE_INFINITY) - last.usage.usedBytes ||
    disk.inodes - last.disk.inodes > (limits.inodes ?? Number.POSITIVE_INFINITY) - last.usage.inodes
  );
}
