// When a disk counts as nearly full: a share of it, at most a fixed amount, is kept for the node itself. Kubernetes has
// the idea from the kubelet's eviction thresholds (nodefs.available, nodefs.inodesFree), which are shares alone.
import { formatSize } from './quantity.ts';

export interface DiskReserve {
  /** Most that is kept; 0 = nothing is. */
  readonly maxBytes: number;
}

export interface DiskShortage {
  /** How much must go, in the measure that is short. */
  readonly kind: 'bytes' | 'inodes';
  readonly missing: number;
  readonly message: string;
}

/** Kept of any disk, as long as it is not more than the amounts. */
const SHARE = 0.05;
export const DEFAULT_DISK_RESERVE = '1Gi';
const MAX_INODES = 50_000;

/** What is missing of the reserve on a file system (statfs(2)); undefined = nothing. */
export function diskShortage(
  disk: { readonly blocks: number; readonly bavail: number; readonly bsize: number; files: number; ffree: number },
  { maxBytes }: DiskReserve,
): DiskShortage | undefined {
  if (maxBytes === 0) return undefined;
  const freeBytes = disk.bavail * disk.bsize;
  const keptBytes = Math.min(Math.floor(disk.blocks * disk.bsize * SHARE), maxBytes);
  if (freeBytes < keptBytes) {
    const message = `${formatSize(freeBytes)} of the disk are free, ${formatSize(keptBytes)} are kept for the node`;
    return { kind: 'bytes', missing: keptBytes - freeBytes, message };
  }
  // Without a number of inodes (btrfs) there is no end of them.
  const keptInodes = Math.min(Math.floor(disk.files * SHARE), MAX_INODES);
  if (disk.ffree < keptInodes) {
    const message = `${disk.ffree} inodes of the disk are free, ${keptInodes} are kept for the node`;
    return { kind: 'inodes', missing: keptInodes - disk.ffree, message };
  }
  return undefined;
}
