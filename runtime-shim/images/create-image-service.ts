// The images of this node: composes content store, layers, writable layers, views and the registry client.
import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import { mkdirSync } from 'node:fs';
import { messageOf, WindlassError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { openContentStore, type ContentStore } from '../../oci/content-store.ts';
import { digestOf, type Digest } from '../../oci/digest.ts';
import type { RegistryClient } from '../../oci/distribution/registry-client.ts';
import { importImage } from '../../oci/import/import-image.ts';
import type { FileSystemCalls } from '../../oci/layers/file-system-calls.ts';
import {
  chainIds,
  MANIFEST_LIMITS,
  parseImageConfig,
  parseManifest,
  type Descriptor,
  type Platform,
} from '../../oci/manifest.ts';
import { hostPlatform, platformName, platformScore } from '../../oci/platform.ts';
import { formatReference, normalizeReference, parseReference } from '../../oci/reference.ts';
import { createSharedWork } from '../../oci/shared-work.ts';
import { openContainerStore } from '../snapshots/container-store.ts';
import { openLayerStore } from '../snapshots/layer-store.ts';
import type { OverlayMounts } from '../snapshots/overlay-mounts.ts';
import type { UnpackPool } from '../snapshots/unpack-pool.ts';
import { openViewStore } from '../snapshots/view-store.ts';
import { addNames, buildRecords, entryName, findRecord, removeName, type LoadedImage } from './image-index.ts';
import type { ImageRecord, ImageService, PullProgress, RegistryAuth, RootFilesystem } from './image-service.ts';
import { createGarbageCollector } from './garbage-collector.ts';
import { createLeases } from './leases.ts';
import { layerSources, pullImage } from './pull-image.ts';

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
  readonly platform?: Platform;
}

/** Opens the image service; call recover() before anything else. */
export function createImageService(parts: ImageServiceParts): ImageService {
  const { registry, mounts, log } = parts;
  const platform = parts.platform ?? hostPlatform();
  mkdirSync(parts.snapshotsDir, { recursive: true, mode: 0o700 });
  const store = openContentStore(parts.contentDir);
  const layers = openLayerStore(parts.snapshotsDir, parts.pool);
  const containers = openContainerStore(parts.snapshotsDir, layers, mounts);
  const views = openViewStore(parts.snapshotsDir, layers, mounts);
  const leases = createLeases();
  const pulls = createSharedWork<ImageRecord>();
  const listeners = new Map<string, Set<(progress: PullProgress) => void>>();
  const images = new Map<Digest, LoadedImage>();
  let records: readonly ImageRecord[] = [];

  function changeIndex(change: (entries: readonly Descriptor[]) => readonly Descriptor[]): void {
    store.updateIndex(change);
    const named = new Set(store.index().map(({ digest }) => digest));
    for (const digest of images.keys()) if (!named.has(digest)) images.delete(digest);
    records = buildRecords(store.index(), images);
  }

  function name(image: LoadedImage, names: readonly string[]): ImageRecord {
    images.set(image.descriptor.digest, image);
    changeIndex((entries) => addNames(entries, image.descriptor, names));
    return records.find(({ id }) => id === image.manifest.config.digest) as ImageRecord;
  }

  /** Such an image can be kept, copied and pushed; only its programs do not run here. */
  function warnOfPlatform({ id, platform: own }: ImageRecord): void {
    if (platformScore(own, platform) > 0) return;
    log.warn({ image: id, platform: platformName(own), node: platformName(platform) }, 'image is for another platform');
  }

  function loadedOf(record: ImageRecord): LoadedImage {
    const image = [...images.values()].find(({ manifest }) => manifest.config.digest === record.id);
    if (!image) throw new WindlassError('NotFound', `image ${record.id} is not on this node`);
    return image;
  }

  /** Unpacks what is missing from blobs that are present. */
  async function ensureUnpacked(image: LoadedImage, protect: (digest: string) => void, signal: AbortSignal) {
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
    await ensureUnpacked(loadedOf(record), lease.protect, new AbortController().signal);
    return use(chain);
  }

  const collector = createGarbageCollector({ store, layers, containers, views, leases, images });
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
    find: (image) => findRecord(records, image),
    list: () => records,
    async pull(text, auth, { signal, onProgress }) {
      const reference = parseReference(text);
      const key = `${formatReference(reference)} ${fingerprint(auth)}`;
      const own = listeners.get(key) ?? new Set();
      listeners.set(key, own);
      if (onProgress) own.add(onProgress);
      try {
        return await pulls.join(key, signal, async (inner) => {
          using lease = leases.open();
          const { image, names } = await pullImage(
            {
              store,
              layers,
              registry,
              platform,
              protect: lease.protect,
              onProgress: (progress) => own.forEach((listener) => listener(progress)),
            },
            reference,
            { credentials: auth, signal: inner },
          );
          const record = name(image, names);
          warnOfPlatform(record);
          log.info({ image: formatReference(reference), digest: record.manifestDigest }, 'pulled image');
          return record;
        });
      } finally {
        if (onProgress) own.delete(onProgress);
        if (own.size === 0) listeners.delete(key);
      }
    },
    async import(path, { references, config, signal }) {
      using lease = leases.open();
      const wanted = references.map(normalizeTag);
      const imported = await importImage(store, parts.files, path, {
        platform,
        references: wanted,
        protect: lease.protect,
        signal,
        ...(config === undefined ? {} : { config }),
      });
      const image = await loadImage(store, imported.manifest);
      await ensureUnpacked(image, lease.protect, signal);
      const record = name(image, wanted.length > 0 ? wanted : imported.references);
      warnOfPlatform(record);
      log.info({ path, image: record.repoTags[0], digest: record.manifestDigest }, 'imported image');
      return record;
    },
    async tag(image, reference) {
      const record = findRecord(records, image);
      if (!record) throw new WindlassError('NotFound', `image ${image} is not on this node`);
      name(loadedOf(record), [normalizeTag(reference)]);
    },
    async untag(reference) {
      changeIndex((entries) => removeName(entries, normalizeReference(reference)));
      await collectQuietly();
    },
    async remove(text) {
      const record = findRecord(records, text);
      if (!record) return;
      const digests = new Set(
        [...images.values()]
          .filter(({ manifest }) => manifest.config.digest === record.id)
          .map(({ descriptor }) => descriptor.digest),
      );
      changeIndex((entries) => entries.filter(({ digest }) => !digests.has(digest)));
      log.info({ image: text, id: record.id }, 'removed image');
      await collectQuietly();
    },
    async prepareRootFilesystem(containerId, image, owner) {
      // What was written over one image means nothing over another.
      if (![undefined, image.id].includes(containers.imageOf(containerId))) await containers.remove(containerId);
      await withChain(image, (chain) => containers.prepare(containerId, image.id, chain, owner));
      return rootFilesystem(containerId) as RootFilesystem;
    },
    rootFilesystem,
    listRootFilesystems: () => containers.list(),
    async removeRootFilesystem(containerId) {
      const imageId = containers.imageOf(containerId);
      await containers.remove(containerId);
      // Only a container whose image was removed before it leaves something behind.
      if (imageId !== undefined && !records.some(({ id }) => id === imageId)) await collectQuietly();
    },
    async unmountRootFilesystem(containerId) {
      containers.unmount(containerId);
    },
    mountView: (image, holder, userNamespace) => withChain(image, (chain) => views.mount(chain, holder, userNamespace)),
    unmountView: (holder) => views.unmount(holder),
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
      const broken = new Set<Digest>();
      for (const entry of store.index()) {
        if (images.has(entry.digest) || broken.has(entry.digest)) continue;
        try {
          images.set(entry.digest, await loadImage(store, entry));
        } catch (error) {
          broken.add(entry.digest);
          log.warn({ image: entryName(entry), digest: entry.digest, err: messageOf(error) }, 'dropped a damaged image');
        }
      }
      if (broken.size > 0) changeIndex((entries) => entries.filter(({ digest }) => !broken.has(digest)));
      records = buildRecords(store.index(), images);
      await collectQuietly();
    },
  };
  return service;
}

async function loadImage(store: ContentStore, descriptor: Descriptor): Promise<LoadedImage> {
  const what = `manifest ${descriptor.digest}`;
  const parsed = parseManifest(
    await store.read(descriptor.digest, MANIFEST_LIMITS.manifestBytes),
    descriptor.mediaType,
    what,
  );
  if (parsed.kind !== 'manifest') throw new WindlassError('Invalid', `invalid ${what}: is an index`);
  const { manifest } = parsed;
  const bytes = await store.read(manifest.config.digest, MANIFEST_LIMITS.configBytes);
  return { descriptor, manifest, config: parseImageConfig(bytes, manifest, `config ${manifest.config.digest}`) };
}

/** A tag to give: a digest names itself and cannot be given. */
function normalizeTag(text: string): string {
  const reference = parseReference(text);
  if (reference.digest !== undefined) {
    throw new WindlassError(
      'Invalid',
      `invalid reference ${JSON.stringify(text)}: an image cannot be tagged with a digest`,
    );
  }
  return formatReference(reference);
}

/** Callers with other credentials must not share a pull: what one may read, the other may not. */
function fingerprint(auth: RegistryAuth | undefined): string {
  return auth === undefined ? '' : createHash('sha256').update(JSON.stringify(auth)).digest('hex');
}
