// The files of a stage at some point, as a stack of layers.
import { digestOf, type Digest } from '../oci/digest.ts';
import { chainIdOn, chainIds, type Descriptor } from '../oci/manifest.ts';

/** End of the year 9999: image documents can write no later time (RFC 3339). */
export const MAX_SECONDS = 253_402_300_799;

export interface Snapshot {
  /** Lowest first; their blobs are in the content store. */
  readonly layers: readonly Descriptor[];
  readonly diffIds: readonly Digest[];
  /** Chain ids of the layers. */
  readonly chain: readonly Digest[];
  /** Newest time of all that went into it, in seconds. */
  readonly newestSeconds: number;
}

export const SCRATCH: Snapshot = { layers: [], diffIds: [], chain: [], newestSeconds: 0 };

/** The snapshot of these layers, lowest first. */
export const createSnapshot = (given: Omit<Snapshot, 'chain'>): Snapshot => ({
  ...given,
  chain: chainIds(given.diffIds, digestOf),
});

/** The chain id that a layer has on top of the snapshot. */
export const chainIdOnTop = ({ chain }: Snapshot, diffId: Digest): Digest => chainIdOn(chain.at(-1), diffId, digestOf);

/** The snapshot with one more layer, or none, on top. */
export function extend(
  snapshot: Snapshot,
  layer: { readonly diffId: Digest; readonly blob: Descriptor } | undefined,
  newestSeconds: number,
): Snapshot {
  if (!layer) return { ...snapshot, newestSeconds };
  return {
    layers: [...snapshot.layers, layer.blob],
    diffIds: [...snapshot.diffIds, layer.diffId],
    chain: [...snapshot.chain, chainIdOnTop(snapshot, layer.diffId)],
    newestSeconds,
  };
}
