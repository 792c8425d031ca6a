import type { Container } from '../../crds/container.ts';
import type { Image } from '../../crds/image.ts';
import type { Network } from '../../crds/network.ts';
import type { Volume } from '../../crds/volume.ts';
import { imageUseOf } from '../image/plan.ts';
import type { Cache, Index } from '../runtime/cache.ts';
import type { PlacementContext } from './filter.ts';
import type { Ledger } from './ledger.ts';

export interface PlacementSources {
  readonly volumes: Cache<Volume>;
  readonly networks: Cache<Network>;
  readonly containers: Cache<Container>;
  /** Images by usesMeaning(). */
  readonly imagesByUse: Index<Image>;
}

/** What filters and scores look at, from the caches and what the ledger counts. */
export const placementContext = (
  { volumes, networks, containers, imagesByUse }: PlacementSources,
  ledger: Pick<Ledger, 'nodesOfVolume'>,
): PlacementContext => ({
  volume: (key) => volumes.get(key),
  network: (key) => networks.get(key),
  container: (key) => containers.get(key),
  imageOf: (container) => imagesByUse.get(imageUseOf(container))[0],
  nodesOfVolume: (key) => ledger.nodesOfVolume(key),
});
