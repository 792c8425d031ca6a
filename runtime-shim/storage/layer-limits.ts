// How much a container may write into its root file system: what its caller says by annotation, else the shim's default.
import type { DiskReserve } from '../../lib/disk-reserve.ts';
import { formatSize } from '../../lib/quantity.ts';
import { ephemeralInodesOf, ephemeralStorageOf } from '../rpc/annotations.ts';
import type { LayerLimits } from '../snapshots/layer-quota.ts';
import type { Usage } from '../snapshots/usage-cache.ts';

/** What holds on this node unless a container says otherwise. */
export interface StorageRules {
  readonly defaults: LayerLimits;
  readonly reserve: DiskReserve;
}

/** The limits of a container; 0 in an annotation = none, whatever the default says. Throws Invalid. */
export function layerLimitsOf(
  { annotations }: { readonly annotations: Readonly<Record<string, string>> },
  defaults: LayerLimits,
): LayerLimits {
  return {
    ...someLimit('bytes', ephemeralStorageOf(annotations) ?? defaults.bytes),
    ...someLimit('inodes', ephemeralInodesOf(annotations) ?? defaults.inodes),
  };
}

const someLimit = (key: keyof LayerLimits, limit: number | undefined): LayerLimits => (limit ? { [key]: limit } : {});

/** Which limit a usage is above, in words; undefined = none. */
export function describeExcess({ usedBytes, inodes }: Usage, limits: LayerLimits): string | undefined {
  if (limits.bytes !== undefined && usedBytes > limits.bytes) {
    return `its writable layer uses at least ${formatSize(usedBytes)} of ${formatSize(limits.bytes)} (ephemeral-storage)`;
  }
  if (limits.inodes !== undefined && inodes > limits.inodes) {
    return `its writable layer has at least ${inodes} of ${limits.inodes} files and folders (inodes)`;
  }
  return undefined;
}
