// The files of a stage at some point, as a stack of layers.
import { digestOf, type Digest } from '../oci/digest.ts';
import { chainIds, type Descriptor } from '../oci/manifest.ts';

/** End of the year 9999: image documents can write no later time (RFC 3339). */
export const MAX_SECONDS = 253_402_300_799;

export interface Snapshot {
  /** Lowest first; their blobs are in the content store. */
  readonly layers: readonly Descriptor[];
  readonly diffIds: readonly Digest[];
  /** Newest time of all that went into it, in seconds. */
  readonly newestSeconds: number;
}

export const SCRATCH: Snapshot = { layers: [], diffIds: [], newestSeconds: 0 };

/** Chain ids of the layers, lowest first. */
export const chainOf = ({ diffIds }: Snapshot): Digest[] => chainIds(diffIds, digestOf);

/** The snapshot with one more layer, or none, on top. */
export function extend(
  { layers, diffIds }: Snapshot,
  layer: { readonly diffId: Digest; readonly blob: Descriptor } | undefined,
  newestSeconds: number,
): Snapshot {
  if (!layer) return { layers, diffIds, newestSeconds };
  return { layers: [...layers, layer.blob], diffIds: [...diffIds, layer.diffId], newestSeconds };
}
