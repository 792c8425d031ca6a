// Steps of builds kept at a registry, for nodes that have not made them: an OCI artifact whose configuration lists the
// steps and whose layers are theirs. Who names such a cache trusts whoever may push to it.
import { z } from 'zod';
import { messageOf, WindlassError } from '../../lib/errors.ts';
import type { ContentStore } from '../../oci/content-store.ts';
import { digestOf, isDigest, type Digest } from '../../oci/digest.ts';
import type { RegistryClient, RegistryCredentials } from '../../oci/distribution/registry-client.ts';
import { MANIFEST_LIMITS, type Descriptor } from '../../oci/manifest.ts';
import { MEDIA_TYPES } from '../../oci/media-types.ts';
import { parseReference } from '../../oci/reference.ts';
import { MAX_SECONDS } from '../snapshot.ts';
import type { CachedStep } from './step-cache.ts';

export const CACHE_TYPE = 'application/vnd.windlass.buildcache.v1+json';

const digest = z.custom<Digest>(isDigest, 'not a digest');
const descriptor = z.object({ mediaType: z.string(), digest, size: z.number().int().min(0) });
const cacheManifest = z.object({
  schemaVersion: z.literal(2),
  config: descriptor.extend({ mediaType: z.literal(CACHE_TYPE) }),
  layers: z.array(descriptor).max(10_000),
});
const cacheConfig = z.object({
  steps: z
    .array(
      z.object({
        key: z.string().regex(/^[0-9a-f]{64}$/),
        /** Absent for a step that changed nothing. Layers are plain tars: the digest is the diff id. */
        layer: digest.optional(),
        newestSeconds: z.number().int().min(0).max(MAX_SECONDS),
        createdBy: z.string(),
      }),
    )
    .max(10_000),
});

/** A step that somebody else has made. */
export interface RemoteStep extends Pick<CachedStep, 'newestSeconds' | 'createdBy'> {
  readonly layer: Descriptor | undefined;
}

export interface RegistryCacheParts {
  readonly registry: Pick<RegistryClient, 'resolve' | 'fetchBlob' | 'pushBlob' | 'pushManifest'>;
  readonly store: ContentStore;
  readonly credentialsFor: (reference: string) => RegistryCredentials | undefined;
  readonly protect: (digest: Digest) => void;
  readonly onLog: (line: string) => void;
  readonly signal: AbortSignal;
}

type Find = (key: string) => Promise<RemoteStep | undefined>;

/**
 * Looks for steps in the caches `references`, which are read when the first step is asked for. A step that is found has
 * its layer in the content store afterwards. A cache that cannot be read is told of and left out: its steps are run.
 */
export function createRegistryCaches(parts: RegistryCacheParts, references: readonly string[]): Find {
  let loading: Promise<readonly Find[]> | undefined;
  return async (key) => {
    loading ??= Promise.all(references.map((reference) => loadQuietly(parts, reference)));
    for (const find of await loading) {
      const step = await find(key);
      if (step) return step;
    }
    return undefined;
  };
}

async function loadQuietly(parts: RegistryCacheParts, reference: string): Promise<Find> {
  try {
    return await load(parts, reference);
  } catch (error) {
    parts.signal.throwIfAborted();
    parts.onLog(`cache ${reference} is not used: ${messageOf(error)}`);
    return async () => undefined;
  }
}

async function load(parts: RegistryCacheParts, text: string): Promise<Find> {
  const { registry, store, protect, onLog, signal } = parts;
  const reference = parseReference(text);
  const call = { credentials: parts.credentialsFor(text), signal };
  const { bytes } = await registry.resolve(reference, call);
  const manifest = parse(cacheManifest, bytes, `cache ${text}`);
  protect(manifest.config.digest);
  await registry.fetchBlob(reference, manifest.config, store, call);
  const config = parse(
    cacheConfig,
    await store.read(manifest.config.digest, MANIFEST_LIMITS.configBytes),
    `the configuration of cache ${text}`,
  );
  const layers = new Map(manifest.layers.map((layer) => [layer.digest, layer]));
  const steps = new Map(config.steps.map((step) => [step.key, step]));
  return async (key) => {
    const step = steps.get(key);
    if (!step) return undefined;
    const layer = step.layer === undefined ? undefined : layers.get(step.layer);
    if (step.layer !== undefined && layer?.mediaType !== MEDIA_TYPES.ociLayer) return undefined;
    if (layer) {
      protect(layer.digest);
      try {
        await registry.fetchBlob(reference, layer, store, call);
      } catch (error) {
        signal.throwIfAborted();
        onLog(`layer ${layer.digest} of cache ${text} is not used: ${messageOf(error)}`);
        return undefined;
      }
    }
    return { layer, newestSeconds: step.newestSeconds, createdBy: step.createdBy };
  };
}

/** Leaves `steps` at the registry as `text`; layers that are there are not sent again. */
export async function pushCache(parts: RegistryCacheParts, text: string, steps: readonly CachedStep[]): Promise<void> {
  const { registry, store, protect, signal } = parts;
  const reference = parseReference(text);
  const call = { credentials: parts.credentialsFor(text), signal };
  const config = Buffer.from(
    JSON.stringify({
      steps: steps.map(({ key, layer, newestSeconds, createdBy }) => ({
        ...{ key, newestSeconds, createdBy },
        ...(layer ? { layer: layer.blob.digest } : {}),
      })),
    }),
  );
  const layers = [...new Map(steps.flatMap(({ layer }) => (layer ? [[layer.blob.digest, layer.blob]] : []))).values()];
  protect(digestOf(config));
  const configDescriptor = { mediaType: CACHE_TYPE, digest: await store.put(config), size: config.length };
  for (const blob of [...layers, configDescriptor]) {
    await registry.pushBlob(reference, blob, store, { ...call, mountFrom: [] });
  }
  const manifest = Buffer.from(
    JSON.stringify({
      ...{ schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, artifactType: CACHE_TYPE },
      ...{ config: configDescriptor, layers },
    }),
  );
  protect(digestOf(manifest));
  const manifestDigest = await store.put(manifest);
  const about = { mediaType: MEDIA_TYPES.ociManifest, digest: manifestDigest, size: manifest.length };
  await registry.pushManifest(reference, about, manifest, call);
}

function parse<T extends z.ZodType>(schema: T, bytes: Buffer, what: string): z.output<T> {
  let document: unknown;
  try {
    document = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw new WindlassError('Invalid', `${what} is not JSON`);
  }
  const result = schema.safeParse(document);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new WindlassError(
    'Invalid',
    `${what} is not a cache of builds: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`,
  );
}
