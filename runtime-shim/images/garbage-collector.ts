// Mark and sweep of blobs and layers. What is live is worked out anew before each deletion, in the same tick, and work
// in progress holds leases, so that a sweep may run beside any pull.
import type { ContentStore } from '../../oci/content-store.ts';
import { digestOf, type Digest } from '../../oci/digest.ts';
import { chainIds } from '../../oci/manifest.ts';
import type { ContainerStore } from '../snapshots/container-store.ts';
import type { LayerStore } from '../snapshots/layer-store.ts';
import type { ViewStore } from '../snapshots/view-store.ts';
import type { LoadedImage } from './image-index.ts';
import type { Leases } from './leases.ts';

/** What others keep beside the images, e.g. the layer cache of builds. Asked before each deletion. */
export interface GarbageRoots {
  hasBlob(digest: Digest): boolean;
  hasLayer(chainId: Digest): boolean;
}

export interface GarbageCollectorParts {
  readonly store: ContentStore;
  readonly layers: LayerStore;
  readonly containers: ContainerStore;
  readonly views: ViewStore;
  readonly leases: Leases;
  /** The images that have a name, or are kept without one; changes under the collector's eyes. */
  readonly images: ReadonlyMap<Digest, LoadedImage>;
  readonly roots: readonly GarbageRoots[];
}

export interface GarbageCollector {
  /** Deletes what nothing refers to. Calls during a sweep lead to one more, which all of them wait for. */
  collect(): Promise<void>;
}

/** Creates a collector over the parts of an image service. */
export function createGarbageCollector(parts: GarbageCollectorParts): GarbageCollector {
  const { store, layers, containers, views, leases, images, roots } = parts;

  const chains = new WeakMap<LoadedImage, ReadonlySet<Digest>>();

  function chainOf(image: LoadedImage): ReadonlySet<Digest> {
    let chain = chains.get(image);
    if (!chain) {
      chain = new Set(chainIds(image.config.rootfs.diff_ids, digestOf));
      chains.set(image, chain);
    }
    return chain;
  }

  function isLiveBlob(digest: Digest): boolean {
    if (leases.has(digest) || images.has(digest) || roots.some((root) => root.hasBlob(digest))) return true;
    for (const { manifest } of images.values()) {
      if (manifest.config.digest === digest || manifest.layers.some((layer) => layer.digest === digest)) return true;
    }
    return false;
  }

  function isLiveLayer(chainId: Digest): boolean {
    if (leases.has(chainId) || roots.some((root) => root.hasLayer(chainId))) return true;
    for (const image of images.values()) if (chainOf(image).has(chainId)) return true;
    return containers.usedLayers().has(chainId) || views.usedLayers().has(chainId);
  }

  async function sweepOnce(): Promise<void> {
    await store.sweep(isLiveBlob);
    await layers.sweep(isLiveLayer);
  }

  let running: Promise<void> | undefined;
  let isWanted = false;
  return {
    async collect() {
      isWanted = true;
      running ??= (async () => {
        try {
          while (isWanted) {
            isWanted = false;
            await sweepOnce();
          }
        } finally {
          running = undefined;
        }
      })();
      await running;
    },
  };
}
