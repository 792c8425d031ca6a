// The images that stages begin with, or copy from: found on the node, else pulled; once per build.
import { isAbort, WindlassError } from '../lib/errors.ts';
import { digestOf } from '../oci/digest.ts';
import { chainIds, type Platform } from '../oci/manifest.ts';
import { platformName, platformScore } from '../oci/platform.ts';
import { parseReference } from '../oci/reference.ts';
import type { ImageParts } from '../runtime-shim/images/create-image-service.ts';
import type { BuildCredentials } from '../runtime-shim/images/image-builder.ts';
import type { LoadedImage } from '../runtime-shim/images/image-index.ts';
import type { ImageService, RegistryAuth } from '../runtime-shim/images/image-service.ts';

export interface BaseImages {
  /** NotFound and other failures of the registry; Unimplemented for an image of another platform than the node's. */
  get(reference: string, platform: Platform): Promise<LoadedImage>;
}

export interface BaseImagesOptions {
  readonly images: Pick<ImageService, 'find' | 'pull'>;
  readonly content: Pick<ImageParts, 'loadedOf' | 'platform'>;
  readonly credentials: readonly BuildCredentials[];
  /** Ask the registry also for what is here. */
  readonly pull: boolean;
  readonly protect: (digest: string) => void;
  readonly onLog: (line: string) => void;
  readonly signal: AbortSignal;
}

/** The base images of one build. */
export function createBaseImages(options: BaseImagesOptions): BaseImages {
  const known = new Map<string, Promise<LoadedImage>>();
  return {
    async get(reference, platform) {
      const image = known.get(reference) ?? find(options, reference).catch(orMissing(reference));
      known.set(reference, image);
      const found = await image;
      if (platformScore(found.config, platform) > 0) return found;
      throw new WindlassError(
        'Invalid',
        `image ${reference} is for ${platformName(found.config)}, not for ${platformName(platform)}`,
      );
    },
  };
}

/** The failure with `details.missingImage`: who makes that image may be known elsewhere. */
function orMissing(reference: string): (error: unknown) => never {
  return (error) => {
    if (isAbort(error) || !(error instanceof WindlassError)) throw error;
    const details = { ...error.details, missingImage: reference };
    throw new WindlassError(error.reason, error.message, { details, cause: error });
  };
}

async function find(options: BaseImagesOptions, reference: string): Promise<LoadedImage> {
  const { images, content, protect, onLog, signal } = options;
  const here = options.pull ? undefined : images.find(reference);
  if (!here) onLog(`pulling ${reference}`);
  const record = here ?? (await images.pull(reference, credentialsFor(options.credentials, reference), { signal }));
  // No await since it was found: nobody can have removed it.
  const image = content.loadedOf(record);
  const { descriptor, manifest, config } = image;
  for (const { digest } of [descriptor, manifest.config, ...manifest.layers]) protect(digest);
  for (const chainId of chainIds(config.rootfs.diff_ids, digestOf)) protect(chainId);
  return image;
}

/** What is known for the registry of `reference`. */
export function credentialsFor(credentials: readonly BuildCredentials[], reference: string): RegistryAuth | undefined {
  const { registry } = parseReference(reference);
  const found = credentials.find((one) => one.registry === registry);
  if (!found) return undefined;
  const { username = '', password = '', identityToken } = found;
  return identityToken === undefined ? { username, password } : { identityToken };
}
