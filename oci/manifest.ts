// Manifests, indexes and image configurations: their types, and the parsing of bytes from outside with limits. A
// document that could be read as two kinds is refused (two readers must never see two images under one digest).
import { z } from 'zod';
import { WindlassError } from '../lib/errors.ts';
import { isDigest, type Digest } from './digest.ts';
import {
  CONFIG_TYPES,
  INDEX_TYPES,
  layerCompression,
  MANIFEST_TYPES,
  MEDIA_TYPES,
  SCHEMA1_TYPES,
} from './media-types.ts';

export const MANIFEST_LIMITS = {
  manifestBytes: 4 * 1024 * 1024,
  configBytes: 8 * 1024 * 1024,
  /** What one overlay mount can stack. */
  layers: 500,
  /** Entries of one index. */
  platforms: 1000,
  /** Indexes inside indexes. */
  indexDepth: 4,
} as const;

/** Go writes an absent list or map as null; both mean absent. */
const orAbsent = <T extends z.ZodType>(type: T) => type.nullish().transform((value) => value ?? undefined);

const platformSchema = z.object({
  architecture: z.string().max(64),
  os: z.string().max(64),
  variant: orAbsent(z.string().max(64)),
  'os.version': orAbsent(z.string().max(256)),
});

const descriptorSchema = z.object({
  mediaType: z.string().max(256),
  digest: z.custom<Digest>(isDigest, 'not a sha256 or sha512 digest'),
  size: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
  platform: orAbsent(platformSchema),
  annotations: orAbsent(z.record(z.string(), z.string())),
});

const manifestSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: orAbsent(z.string()),
  config: descriptorSchema,
  layers: z.array(descriptorSchema).max(MANIFEST_LIMITS.layers),
  annotations: orAbsent(z.record(z.string(), z.string())),
});

const indexSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: orAbsent(z.string()),
  manifests: z.array(descriptorSchema).max(MANIFEST_LIMITS.platforms),
  annotations: orAbsent(z.record(z.string(), z.string())),
});

const strings = orAbsent(z.array(z.string()));
const emptyObjects = orAbsent(z.record(z.string(), z.unknown()));

const healthcheckSchema = z.object({
  Test: strings,
  /** Nanoseconds, as Go writes durations. */
  Interval: orAbsent(z.number()),
  Timeout: orAbsent(z.number()),
  StartPeriod: orAbsent(z.number()),
  StartInterval: orAbsent(z.number()),
  Retries: orAbsent(z.number()),
});

const runConfigSchema = z.object({
  User: orAbsent(z.string()),
  ExposedPorts: emptyObjects,
  Env: strings,
  Entrypoint: strings,
  Cmd: strings,
  Volumes: emptyObjects,
  WorkingDir: orAbsent(z.string()),
  Labels: orAbsent(z.record(z.string(), z.string())),
  StopSignal: orAbsent(z.string()),
  Shell: strings,
  OnBuild: strings,
  Healthcheck: orAbsent(healthcheckSchema),
});

const historySchema = z.object({
  created: orAbsent(z.string()),
  created_by: orAbsent(z.string()),
  author: orAbsent(z.string()),
  comment: orAbsent(z.string()),
  empty_layer: orAbsent(z.boolean()),
});

const imageConfigSchema = z.object({
  created: orAbsent(z.string()),
  author: orAbsent(z.string()),
  architecture: z.string().max(64),
  os: z.string().max(64),
  variant: orAbsent(z.string().max(64)),
  config: orAbsent(runConfigSchema).transform((value) => value ?? {}),
  rootfs: z.object({
    type: z.literal('layers'),
    diff_ids: z.array(z.custom<Digest>(isDigest, 'not a sha256 or sha512 digest')).max(MANIFEST_LIMITS.layers),
  }),
  history: orAbsent(z.array(historySchema)),
});

export type Platform = Absent<z.infer<typeof platformSchema>>;
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly platform?: Platform;
  readonly annotations?: Readonly<Record<string, string>>;
}
export interface Manifest {
  readonly schemaVersion: 2;
  readonly mediaType?: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
}
export interface Index {
  readonly schemaVersion: 2;
  readonly mediaType?: string;
  readonly manifests: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
}
/** What a container of the image runs by default; field names are those of the OCI image configuration. */
export type RunConfig = Absent<z.infer<typeof runConfigSchema>>;
export type ImageConfig = Omit<Absent<z.infer<typeof imageConfigSchema>>, 'config'> & { readonly config: RunConfig };

/** A key whose value may be undefined may also be left out. */
type Absent<T> = { readonly [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  readonly [K in keyof T as undefined extends T[K] ? K : never]?: T[K];
};

export type ManifestOrIndex =
  | { readonly kind: 'manifest'; readonly mediaType: string; readonly manifest: Manifest }
  | { readonly kind: 'index'; readonly mediaType: string; readonly index: Index };

/**
 * Parses the bytes of a manifest or index. `contentType` is what the sender called them (undefined on disk): it must
 * agree with the document's own `mediaType`. Throws Invalid; `what` names the document in the message.
 */
export function parseManifest(bytes: Buffer, contentType: string | undefined, what: string): ManifestOrIndex {
  const document = parseJsonObject(bytes, MANIFEST_LIMITS.manifestBytes, what);
  const declared = contentType?.split(';')[0]?.trim().toLowerCase();
  const own = typeof document['mediaType'] === 'string' ? document['mediaType'] : undefined;
  if (document['schemaVersion'] === 1 || [declared, own].some((type) => type && SCHEMA1_TYPES.includes(type))) {
    throw new WindlassError(
      'Invalid',
      `${what} is a Docker schema 1 manifest, which is not supported: push the image again with a current tool`,
    );
  }
  if (document['mediaType'] !== undefined && own === undefined) throw invalid(what, 'mediaType is not a string');
  const known = [...MANIFEST_TYPES, ...INDEX_TYPES];
  if (own !== undefined && !known.includes(own)) throw invalid(what, `unsupported media type ${JSON.stringify(own)}`);
  if (declared !== undefined && own !== undefined && known.includes(declared) && declared !== own) {
    throw invalid(what, `Content-Type ${declared} and mediaType ${own} differ`);
  }
  if ('layers' in document && 'manifests' in document) throw invalid(what, 'has both layers and manifests');
  if ('config' in document && 'manifests' in document) throw invalid(what, 'has both config and manifests');
  if ('fsLayers' in document) throw invalid(what, 'has fsLayers, a field of Docker schema 1');
  const fromSender = declared !== undefined && known.includes(declared) ? declared : undefined;
  const mediaType = own ?? fromSender ?? ('manifests' in document ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.ociManifest);
  if (INDEX_TYPES.includes(mediaType)) {
    return { kind: 'index', mediaType, index: parseWith(indexSchema, document, what) as Index };
  }
  const manifest = parseWith(manifestSchema, document, what) as Manifest;
  checkImageManifest(manifest, what);
  return { kind: 'manifest', mediaType, manifest };
}

/** Parses an image configuration that belongs to `manifest`: one diff id per layer, or Invalid. */
export function parseImageConfig(bytes: Buffer, manifest: Manifest, what: string): ImageConfig {
  const config = parseWith(imageConfigSchema, parseJsonObject(bytes, MANIFEST_LIMITS.configBytes, what), what);
  const layers = manifest.layers.length;
  if (config.rootfs.diff_ids.length !== layers) {
    throw invalid(what, `has ${config.rootfs.diff_ids.length} diff ids for ${layers} layers`);
  }
  return config;
}

/** The chain id of each layer: what identifies a layer together with all layers below it. */
export function chainIds(diffIds: readonly Digest[], digest: (text: string) => Digest): Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) chain.push(chainIdOn(chain.at(-1), diffId, digest));
  return chain;
}

/** The chain id of a layer on top of those that `parent` is the chain id of; undefined = of the lowest layer. */
export const chainIdOn = (parent: Digest | undefined, diffId: Digest, digest: (text: string) => Digest): Digest =>
  parent === undefined ? diffId : digest(`${parent} ${diffId}`);

function checkImageManifest(manifest: Manifest, what: string): void {
  if (!CONFIG_TYPES.includes(manifest.config.mediaType)) {
    throw invalid(what, `is not a container image: its config has type ${JSON.stringify(manifest.config.mediaType)}`);
  }
  if (manifest.config.size > MANIFEST_LIMITS.configBytes) {
    throw invalid(what, `config has ${manifest.config.size} bytes, the limit is ${MANIFEST_LIMITS.configBytes}`);
  }
  for (const layer of manifest.layers) {
    if (layerCompression(layer.mediaType) === undefined) {
      throw invalid(what, `layer ${layer.digest} has unsupported type ${JSON.stringify(layer.mediaType)}`);
    }
  }
}

function parseJsonObject(bytes: Buffer, limit: number, what: string): Record<string, unknown> {
  if (bytes.length > limit) throw invalid(what, `has ${bytes.length} bytes, the limit is ${limit}`);
  let document: unknown;
  try {
    document = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw invalid(what, 'is not JSON', error);
  }
  if (document === null || typeof document !== 'object' || Array.isArray(document)) {
    throw invalid(what, 'is not a JSON object');
  }
  return document as Record<string, unknown>;
}

function parseWith<T extends z.ZodType>(schema: T, document: unknown, what: string): z.output<T> {
  const result = schema.safeParse(document);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw invalid(what, `${issue?.path.join('.') || 'document'}: ${issue?.message ?? 'invalid'}`);
}

function invalid(what: string, problem: string, cause?: unknown): WindlassError {
  return new WindlassError('Invalid', `invalid ${what}: ${problem}`, cause === undefined ? {} : { cause });
}
