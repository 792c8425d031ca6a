// The documents of a built image. The same stage gives the same bytes: keys are in one order, times are those of the
// input.
import type { ContentStore } from '../../oci/content-store.ts';
import { digestOf, type Digest } from '../../oci/digest.ts';
import type { Descriptor, ImageConfig, Manifest, Platform, RunConfig } from '../../oci/manifest.ts';
import { isForeignLayer, layerCompression, MEDIA_TYPES } from '../../oci/media-types.ts';
import { loadImage } from '../../runtime-shim/images/image-table.ts';
import type { LoadedImage } from '../../runtime-shim/images/image-index.ts';

export type HistoryEntry = Partial<NonNullable<ImageConfig['history']>[number]>;

export interface FinishedStage {
  readonly platform: Platform;
  readonly config: RunConfig;
  readonly author: string | undefined;
  readonly layers: readonly Descriptor[];
  readonly diffIds: readonly Digest[];
  readonly history: readonly HistoryEntry[];
  readonly newestSeconds: number;
}

export interface WriteImageOptions {
  readonly labels: ReadonlyMap<string, string>;
  readonly protect: (digest: Digest) => void;
}

/** As the OCI image specification lists them. */
const CONFIG_KEYS = [
  ...['User', 'ExposedPorts', 'Env', 'Entrypoint', 'Cmd', 'Volumes', 'WorkingDir', 'Labels', 'StopSignal'],
  ...['OnBuild', 'Healthcheck', 'Shell'],
] as const satisfies readonly (keyof RunConfig)[];

/** Writes configuration and manifest of the image that `stage` is; its layers are in the store. */
export async function writeImage(
  store: ContentStore,
  stage: FinishedStage,
  { labels, protect }: WriteImageOptions,
): Promise<LoadedImage> {
  // Protected before it is there: a sweep may come at any time.
  const put = async (mediaType: string, document: object): Promise<Descriptor> => {
    const bytes = Buffer.from(JSON.stringify(document));
    protect(digestOf(bytes));
    return { mediaType, digest: await store.put(bytes), size: bytes.length };
  };
  const { os, architecture, variant } = stage.platform;
  const config = {
    created: rfc3339(stage.newestSeconds),
    ...(stage.author === undefined ? {} : { author: stage.author }),
    architecture,
    os,
    ...(variant === undefined ? {} : { variant }),
    config: orderConfig({ ...stage.config, Labels: { ...stage.config.Labels, ...Object.fromEntries(labels) } }),
    rootfs: { type: 'layers', diff_ids: [...stage.diffIds] },
    history: [...stage.history],
  };
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: await put(MEDIA_TYPES.ociConfig, config),
    layers: stage.layers.map(toOciLayer),
  };
  return loadImage(store, await put(MEDIA_TYPES.ociManifest, manifest));
}

/** Seconds since 1970 as image documents write times. */
export const rfc3339 = (seconds: number): string => new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');

/** Docker's layer types mean the same bytes as OCI's; one manifest has one kind. */
function toOciLayer({ mediaType, digest, size }: Descriptor): Descriptor {
  if (isForeignLayer(mediaType)) return { mediaType, digest, size };
  const compression = layerCompression(mediaType) ?? 'none';
  return { mediaType: `${MEDIA_TYPES.ociLayer}${compression === 'none' ? '' : `+${compression}`}`, digest, size };
}

function orderConfig(config: RunConfig): RunConfig {
  const entries = CONFIG_KEYS.flatMap((key) => {
    const value = config[key];
    return value === undefined || isEmpty(value) ? [] : [[key, sortKeys(value)] as const];
  });
  return Object.fromEntries(entries);
}

const isEmpty = (value: unknown): boolean =>
  value === '' ||
  (Array.isArray(value) ? value.length === 0 : typeof value === 'object' && Object.keys(value ?? {}).length === 0);

const sortKeys = (value: unknown): unknown =>
  value !== null && typeof value === 'object' && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    : value;
