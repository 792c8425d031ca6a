import type { DiskShortage } from '../../lib/disk-reserve.ts';
import type { Usage } from '../snapshots/usage-cache.ts';

/** A layer below this share of what is missing is not to blame, and its end would not help. */
const MIN_SHARE = 0.1;

/** The container with the most of what the disk is short of; undefined when none has a share that matters. Pure. */
export function chooseVictim(
  usages: ReadonlyMap<string, Usage>,
  { kind, missing }: Pick<DiskShortage, 'kind' | 'missing'>,
): string | undefined {
  const amount = ({ usedBytes, inodes }: Usage): number => (kind === 'bytes' ? usedBytes : inodes);
  const [largest] = [...usages].toSorted(([, a], [, b]) => amount(b) - amount(a));
  return largest && amount(largest[1]) >= Math.max(missing * MIN_SHARE, 1) ? largest[0] : undefined;
}
