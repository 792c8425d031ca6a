// What the registry has to know of a manifest that is pushed. It keeps the bytes as they are and looks only at what
// links documents with one another; a document that two readers could take for two things is refused.
import { z } from 'zod';
import { isDigest, type Digest } from '../oci/digest.ts';
import { MANIFEST_LIMITS } from '../oci/manifest.ts';
import { INDEX_TYPES, isForeignLayer, MANIFEST_TYPES, SCHEMA1_TYPES } from '../oci/media-types.ts';
import { refuse } from './oci-errors.ts';
import type { ManifestLink } from './store/repository.ts';

const descriptor = z.object({
  mediaType: z.string().min(1).max(256),
  digest: z.custom<Digest>(isDigest, 'not a sha256 or sha512 digest'),
  size: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
  urls: z.array(z.string()).nullish(),
});

const common = {
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  artifactType: z.string().max(256).optional(),
  subject: descriptor.optional(),
  annotations: z.record(z.string(), z.string()).nullish(),
};
const imageSchema = z.object({
  ...common,
  config: descriptor,
  layers: z.array(descriptor).max(MANIFEST_LIMITS.layers),
});
const indexSchema = z.object({ ...common, manifests: z.array(descriptor).max(MANIFEST_LIMITS.platforms) });
const annotatedSchema = z.object({ annotations: common.annotations });
const descriptorsSchema = z.object({
  config: descriptor.optional(),
  layers: z.array(descriptor).optional(),
  manifests: z.array(descriptor).optional(),
});

/** Keys that decide what a document is; readers that ignore case would find them under other spellings, too. */
const DECISIVE = ['schemaVersion', 'mediaType', 'artifactType', 'subject', 'config', 'layers', 'manifests', 'fsLayers'];

/** What a manifest links. */
export type ReadManifest = Omit<ManifestLink, 'wantedAtMs' | 'notedAtMs'> & {
  /** Those of its blobs that a repository must have to take it; others may be elsewhere. */
  readonly required: readonly Digest[];
};

/**
 * Reads a pushed manifest. `contentType` is what the client called it. Throws MANIFEST_INVALID with the field, and says
 * of what is too large or of another format by name.
 */
export function readManifestLink(bytes: Buffer, contentType: string | undefined): ReadManifest {
  const document = parseDocument(bytes);
  const declared = contentType?.split(';')[0]?.trim().toLowerCase();
  const own = document['mediaType'];
  if (SCHEMA1_TYPES.includes(declared ?? '') || document['schemaVersion'] === 1 || 'fsLayers' in document) {
    throw invalid('it is of Docker schema 1, which is not supported: push the image again with a current tool');
  }
  if (own !== undefined && declared !== undefined && own !== declared) {
    throw invalid(`Content-Type is ${declared}, its mediaType ${JSON.stringify(own)}`);
  }
  const mediaType = declared ?? own;
  if (typeof mediaType !== 'string' || ![...MANIFEST_TYPES, ...INDEX_TYPES].includes(mediaType)) {
    const known = [...MANIFEST_TYPES, ...INDEX_TYPES].join(', ');
    throw invalid(`Content-Type ${JSON.stringify(mediaType ?? '')} is none of ${known}`);
  }
  if ('manifests' in document && ('layers' in document || 'config' in document)) {
    throw invalid('it has manifests, and config or layers: it must be an index or an image');
  }
  if (INDEX_TYPES.includes(mediaType)) {
    const index = parseWith(indexSchema, document);
    return { ...linkOf(mediaType, bytes, index), blobs: [], required: [], manifests: unique(index.manifests) };
  }
  const image = parseWith(imageSchema, document);
  // Layers that may not be copied are fetched elsewhere, unless somebody has pushed them all the same.
  const copied = image.layers.filter((layer) => !isForeignLayer(layer.mediaType) && !layer.urls?.length);
  return {
    ...linkOf(mediaType, bytes, image, image.config.mediaType),
    blobs: unique([image.config, ...image.layers]),
    required: unique([image.config, ...copied]),
    manifests: [],
  };
}

/** The annotations of a manifest that was read before. */
export function readAnnotations(bytes: Buffer): Readonly<Record<string, string>> | undefined {
  return parseWith(annotatedSchema, parseDocument(bytes)).annotations ?? undefined;
}

/** What a manifest names, each with its size. */
export function readDescriptors(bytes: Buffer): { mediaType: string; digest: Digest; size: number }[] {
  const { config, layers, manifests } = parseWith(descriptorsSchema, parseDocument(bytes));
  return [...(config ? [config] : []), ...(layers ?? []), ...(manifests ?? [])];
}

function linkOf(
  mediaType: string,
  bytes: Buffer,
  document: { readonly subject?: { readonly digest: Digest } | undefined; readonly artifactType?: string | undefined },
  configType?: string,
): Pick<ManifestLink, 'mediaType' | 'sizeBytes' | 'subject' | 'artifactType'> {
  const artifactType = document.artifactType || configType;
  return {
    mediaType,
    sizeBytes: bytes.length,
    ...(document.subject === undefined ? {} : { subject: document.subject.digest }),
    ...(artifactType === undefined ? {} : { artifactType }),
  };
}

function parseDocument(bytes: Buffer): Record<string, unknown> {
  if (bytes.length > MANIFEST_LIMITS.manifestBytes) {
    throw refuse('MANIFEST_INVALID', `the manifest has more than ${MANIFEST_LIMITS.manifestBytes} bytes`, {
      status: 413,
    });
  }
  let document: unknown;
  try {
    document = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw invalid('it is not JSON', error);
  }
  if (document === null || typeof document !== 'object' || Array.isArray(document)) {
    throw invalid('it is not a JSON object');
  }
  for (const key of Object.keys(document)) {
    const meant = DECISIVE.find((known) => known.toLowerCase() === key.toLowerCase());
    if (meant !== undefined && meant !== key) throw invalid(`${JSON.stringify(key)} must be spelt ${meant}`);
  }
  return document as Record<string, unknown>;
}

function parseWith<T extends z.ZodType>(schema: T, document: unknown): z.output<T> {
  const result = schema.safeParse(document);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw invalid(`${issue?.path.join('.') || 'document'}: ${issue?.message ?? 'invalid'}`);
}

const unique = (descriptors: readonly { readonly digest: Digest }[]): Digest[] => [
  ...new Set(descriptors.map(({ digest }) => digest)),
];

const invalid = (problem: string, cause?: unknown) =>
  refuse('MANIFEST_INVALID', `invalid manifest: ${problem}`, { cause });
