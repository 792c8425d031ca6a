// The images of this node: composes content store, layers, writable layers, views and the registry client.
import { dirname, join } from 'node:path';
import { mkdirSync } from 'node:fs';
import { WindlassError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { openContentStore, type ContentStore } from '../../oci/content-store.ts';
import { digestOf, type Digest } from '../../oci/digest.ts';
import type { RegistryClient } from '../../oci/distribution/registry-client.ts';
import type { FileSystemCalls } from '../../oci/layers/file-system-calls.ts';
import { chainIds, type Platform } from '../../oci/manifest.ts';
import { hostPlatform } from '../../oci/platform.ts';
import { normalizeReference } from '../../oci/reference.ts';
import { openContainerStore } from '../snapshots/container-store.ts';
import { openLayerStore, type LayerStore } from '../snapshots/layer-store.ts';
import type { OverlayMounts } from '../snapshots/overlay-mounts.ts';
import type { UnpackPool } from '../snapshots/unpack-pool.ts';
import { openViewStore } from '../snapshots/view-store.ts';
import { openCompressedLayers } from './compressed-layers.ts';
import { removeName, type LoadedImage } from './image-index.ts';
import type { ImageRecord, ImageService, RootFilesystem } from './image-service.ts';
import { createImageTable } from './image-table.ts';
import { createGarbageCollector, type GarbageRoots } from './garbage-collector.ts';
import { openKeptBlobs } from './kept-blobs.ts';
import { createLeases, type Leases } from './leases.ts';
import { normalizeTag } from './normalize-tag.ts';
import { layerSources, type LayerStack } from './pull-image.ts';
import { findSharedBlob } from './shared-blob.ts';
import { createTransfers, protectImage } from './transfers.ts';

export interface ImageServiceParts {
  /** Folder of the content store (an OCI image layout). */
  readonly contentDir: string;
  /** Folder of unpacked layers and writable layers. */
  readonly snapshotsDir: string;
  readonly registry: RegistryClient;
  readonly mounts: OverlayMounts;
  readonly pool: UnpackPool;
  readonly files: FileSystemCalls;
  readonly log: Logger;
  /** References of images that are listed as pinned. */
  readonly pinned?: readonly string[];
  readonly platform?: Platform;
}

/** What else is made of images works with: their stores, and what the service itself does with them. */
export interface ImageParts {
  readonly store: ContentStore;
  readonly layers: LayerStore;
  readonly leases: Leases;
  readonly mounts: OverlayMounts;
  readonly registry: RegistryClient;
  readonly platform: Platform;
  readonly snapshotsDir: string;
  /** The documents of an image of this node. */
  loadedOf(record: ImageRecord): LoadedImage;
  /** Makes what is in the stores an image of this node, with these names. */
  name(image: LoadedImage, names: readonly string[]): ImageRecord;
  /** The layers of all images of this node. */
  imageBlobs(): ReadonlySet<Digest>;
  /** Unpacks what is missing of layers whose blobs are present. */
  ensureUnpacked(layers: LayerStack, signal: AbortSignal): Promise<void>;
  /** Keeps what `roots` names, from now on. To be called before the service recovers. */
  keep(roots: GarbageRoots): void;
  /** Deletes what nobody needs; a failure is logged. */
  collect(): Promise<void>;
}

/** Opens the image service; call recover() before anything else. */
export function createImageService(parts: ImageServiceParts): ImageService {
  return openImageParts(parts).service;
}

/** The same with the parts that it is made of. */
export function openImageParts(parts: ImageServiceParts): {
  readonly service: ImageService;
  readonly parts: ImageParts;
} {
  const { registry, mounts, files, log } = parts;
  const platform = parts.platform ?? hostPlatform();
  mkdirSync(parts.snapshotsDir, { recursive: true, mode: 0o700 });
  const store = openContentStore(parts.contentDir);
  const layers = openLayerStore(parts.snapshotsDir, parts.pool);
  const containers = openContainerStore(parts.snapshotsDir, layers, mounts);
  const views = openViewStore(parts.snapshotsDir, layers, mounts);
  const compressed = openCompressedLayers(store, join(parts.contentDir, 'compressed-layers.json'));
  const leases = createLeases();
  const kept = openKeptBlobs(join(dirname(parts.contentDir), 'kept-blobs.json'), {
    ...{ store, leases },
    onDamaged: (file, error) => log.error({ err: error, file }, 'put aside a damaged list of kept blobs'),
  });
  const table = createImageTable(store, log, (parts.pinned ?? []).map(normalizeReference));

  /** Unpacks what is missing from blobs that are present. */
  async function ensureUnpacked(image: LayerStack, protect: (digest: string) => void, signal: AbortSignal) {
    const sources = layerSources(image, async (layer) => {
      if (store.has(layer.digest, layer.size)) return store.blobPath(layer.digest);
      throw new WindlassError('NotFound', `layer ${layer.digest} is not on this node: pull the image again`);
    });
    for (const { chainId } of sources) protect(chainId);
    await layers.ensure(sources, signal);
  }

  async function withChain<T>(record: ImageRecord, use: (chain: readonly Digest[]) => T): Promise<T> {
    const chain = chainIds(record.config.rootfs.diff_ids, digestOf);
    if (chain.every((chainId) => layers.has(chainId))) return use(chain);
    using lease = leases.open();
    const image = table.loadedOf(record);
    protectImage(image, lease.protect);
    await ensureUnpacked(image, lease.protect, new AbortController().signal);
    return use(chain);
  }

  const roots: GarbageRoots[] = [];
  const collector = createGarbageCollector({ store, layers, containers, views, leases, images: table.images, roots });
  /** What is no longer needed is not worth failing the caller for; the next sweep tries again. */
  async function collectQuietly(): Promise<void> {
    try {
      await collector.collect();
    } catch (error) {
      log.warn({ err: error }, 'failed to collect garbage');
    }
  }

  const rootFilesystem = (containerId: string): RootFilesystem | undefined => {
    const path = containers.path(containerId);
    return path === undefined ? undefined : { path, usage: () => containers.usage(containerId) };
  };

  const service: ImageService = {
    ...createTransfers({ store, layers, registry, compressed, files, platform, table, leases, log, ensureUnpacked }),
    findBlob: (digest) => findSharedBlob(store, table.images, digest),
    find: table.find,
    importBlob: kept.adopt,
    async keepBlobs(digests) {
      const missing = kept.declare(digests);
      await collectQuietly();
      return missing;
    },
    list: table.records,
    async tag(image, reference) {
      table.name(table.loadedOf(table.mustFind(image)), [normalizeTag(reference)]);
    },
    async untag(reference) {
      table.change((entries) => removeName(entries, normalizeReference(reference)));
      await collectQuietly();
    },
    async remove(text) {
      const record = table.find(text);
      if (!record) return;
      const digests = new Set(
        [...table.images.values()]
          .filter(({ manifest }) => manifest.config.digest === record.id)
          .map(({ descriptor }) => descriptor.digest),
      );
      table.change((entries) => entries.filter(({ digest }) => !digests.has(digest)));
      log.info({ image: text, id: record.id }, 'removed image');
      await collectQuietly();
    },
    async prepareRootFilesystem(containerId, image, options) {
      await containers.settled(containerId);
      // What was written over one image means nothing over another.
      if (![undefined, image.id].includes(containers.imageOf(containerId))) await containers.remove(containerId);
      await withChain(image, (chain) => containers.prepare(containerId, image.id, chain, options));
      return rootFilesystem(containerId) as RootFilesystem;
    },
    rootFilesystem,
    writableLayer: (containerId) => containers.writableLayer(containerId),
    limitRootFilesystem: (containerId, limits) => containers.limit(containerId, limits),
    listRootFilesystems: () => containers.list(),
    async removeRootFilesystem(containerId) {
      const imageId = containers.imageOf(containerId);
      await containers.remove(containerId);
      // Only a container whose image was removed before it leaves something behind.
      if (imageId !== undefined && !table.records().some(({ id }) => id === imageId)) await collectQuietly();
    },
    async unmountRootFilesystem(containerId) {
      await containers.unmount(containerId);
    },
    mountView: (image, holder, userNamespace) => withChain(image, (chain) => views.mount(chain, holder, userNamespace)),
    unmountView: (holder) => views.unmount(holder),
    listViewHolders: () => views.holders(),
    async usage() {
      const content = await store.usage();
      const snapshots = layers.usage();
      const writable = await Promise.all(containers.list().map((containerId) => containers.usage(containerId)));
      return {
        mountpoint: dirname(parts.snapshotsDir),
        usedBytes: writable.reduce((sum, { usedBytes }) => sum + usedBytes, content.usedBytes + snapshots.usedBytes),
        inodesUsed: writable.reduce((sum, { inodes }) => sum + inodes, content.inodes + snapshots.inodes),
      };
    },
    async recover() {
      await layers.recover();
      await containers.recover();
      await views.recover();
      await table.recover();
      await collectQuietly();
    },
  };
  return {
    service,
    parts: {
      ...{ store, layers, leases, mounts, registry, platform, snapshotsDir: parts.snapshotsDir },
      loadedOf: table.loadedOf,
      name: (image, names) => table.name(image, names.map(normalizeTag)),
      imageBlobs: () =>
        new Set([...table.images.values()].flatMap(({ manifest }) => manifest.layers.map(({ digest }) => digest))),
      async ensureUnpacked(stack, signal) {
        using lease = leases.open();
        await ensureUnpacked(stack, lease.protect, signal);
      },
      keep: (root) => void roots.push(root),
      collect: collectQuietly,
    },
  };
}
