// Images that come and go: pulled, imported, pushed, exported. What a transfer needs is leased while it runs, from before
// it is looked for.
import { createHash } from 'node:crypto';
import type { Logger } from '../../lib/log.ts';
import type { ContentStore } from '../../oci/content-store.ts';
import type { RegistryClient } from '../../oci/distribution/registry-client.ts';
import { exportDockerArchive, exportLayout, type ExportedImage } from '../../oci/export/export-images.ts';
import { importImage } from '../../oci/import/import-image.ts';
import type { FileSystemCalls } from '../../oci/layers/file-system-calls.ts';
import type { Platform } from '../../oci/manifest.ts';
import { platformName, platformScore } from '../../oci/platform.ts';
import { formatReference, parseReference, repositoryName } from '../../oci/reference.ts';
import { createSharedWork } from '../../oci/shared-work.ts';
import type { LayerStore } from '../snapshots/layer-store.ts';
import type { CompressedLayers } from './compressed-layers.ts';
import { tagMeant, type LoadedImage } from './image-index.ts';
import type { ImageRecord, ImageService, PullProgress, RegistryAuth } from './image-service.ts';
import { loadImage, type ImageTable } from './image-table.ts';
import type { Leases } from './leases.ts';
import { normalizeTag } from './normalize-tag.ts';
import { pullImage } from './pull-image.ts';
import { pushImage } from './push-image.ts';

export interface TransferParts {
  readonly store: ContentStore;
  readonly layers: LayerStore;
  readonly registry: RegistryClient;
  readonly compressed: CompressedLayers;
  readonly files: FileSystemCalls;
  readonly platform: Platform;
  readonly table: ImageTable;
  readonly leases: Leases;
  readonly log: Logger;
  /** Unpacks what is missing of an image whose blobs are present. */
  readonly ensureUnpacked: (
    image: LoadedImage,
    protect: (digest: string) => void,
    signal: AbortSignal,
  ) => Promise<void>;
}

/** The transfers of an image service. */
export function createTransfers(parts: TransferParts): Pick<ImageService, 'pull' | 'import' | 'push' | 'export'> {
  const { store, layers, registry, compressed, files, platform, table, leases, log, ensureUnpacked } = parts;
  const pulls = createSharedWork<ImageRecord>();
  const listeners = new Map<string, Set<(progress: PullProgress) => void>>();

  /** Such an image can be kept, copied and pushed; only its programs do not run here. */
  function warnOfPlatform({ id, platform: own }: ImageRecord): void {
    if (platformScore(own, platform) > 0) return;
    log.warn({ image: id, platform: platformName(own), node: platformName(platform) }, 'image is for another platform');
  }

  return {
    async pull(text, auth, { signal, onProgress, peers }) {
      const reference = parseReference(text);
      // One that knows what the reference means does not stand for one that has to ask.
      const key = `${formatReference(reference)} ${fingerprint(auth)} ${peers?.digest ?? ''}`;
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
              log,
              protect: lease.protect,
              onProgress: (progress) => own.forEach((listener) => listener(progress)),
            },
            reference,
            { credentials: auth, signal: inner, peers },
          );
          const record = table.name(image, names);
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
      const imported = await importImage(store, files, path, {
        platform,
        references: wanted,
        protect: lease.protect,
        signal,
        ...(config === undefined ? {} : { config }),
      });
      const image = await loadImage(store, imported.manifest);
      await ensureUnpacked(image, lease.protect, signal);
      const record = table.name(image, wanted.length > 0 ? wanted : imported.references);
      warnOfPlatform(record);
      log.info({ path, image: record.repoTags[0], digest: record.manifestDigest }, 'imported image');
      return record;
    },
    async push(text, target, auth, { signal, onProgress = () => undefined }) {
      const image = table.loadedOf(table.mustFind(text));
      const reference = parseReference(target);
      // Taken before the first await: removing the image meanwhile leaves its bytes until they are sent.
      using lease = leases.open();
      protectImage(image, lease.protect);
      const digest = await pushImage(
        { store, registry, compressed, images: table.images, protect: lease.protect, onProgress },
        image,
        reference,
        { credentials: auth, signal },
      );
      const repository = repositoryName(reference);
      // What the registry calls it, as after a pull; only where the image goes by this repository here too.
      if (
        table
          .records()
          .some(
            ({ manifestDigest, repoTags }) => manifestDigest === image.descriptor.digest && isOf(repository, repoTags),
          )
      ) {
        table.name(image, [`${repository}@${digest}`]);
      }
      log.info({ image: formatReference(reference), digest }, 'pushed image');
      return digest;
    },
    async *export(names, format, signal) {
      using lease = leases.open();
      const exported = names.map((text): ExportedImage => {
        const record = table.mustFind(text);
        const image = table.loadedOf(record);
        protectImage(image, lease.protect);
        const tag = tagMeant(text, record);
        return { ...image, references: tag === undefined ? record.repoTags : [tag] };
      });
      const write = format === 'oci-layout' ? exportLayout : exportDockerArchive;
      yield* write(store, exported, signal);
    },
  };
}

/** Leases every blob of an image. */
export function protectImage({ descriptor, manifest }: LoadedImage, protect: (digest: string) => void): void {
  for (const { digest } of [descriptor, manifest.config, ...manifest.layers]) protect(digest);
}

/** Does one of `names` lie in the repository? */
const isOf = (repository: string, names: readonly string[]): boolean =>
  names.some((name) => repositoryName(parseReference(name)) === repository);

/** Callers with other credentials must not share a pull: what one may read, the other may not. */
function fingerprint(auth: RegistryAuth | undefined): string {
  return auth === undefined ? '' : createHash('sha256').update(JSON.stringify(auth)).digest('hex');
}
