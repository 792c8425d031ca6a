// Composes the image service of one instance from its parts.
import { mkdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { errnoOf } from '../../lib/errors.ts';
import { paths, type Instance } from '../../lib/instance.ts';
import type { Logger } from '../../lib/log.ts';
import type { RegistryClientOptions } from '../../oci/distribution/create-registry-client.ts';
import { createLazyRegistryClient } from '../../oci/distribution/lazy-registry-client.ts';
import type { RegistriesConfig } from '../../oci/distribution/registries.ts';
import { createLayerFiles } from '../host/layer-files.ts';
import { kernelMounts } from '../snapshots/overlay-mounts.ts';
import { createUnpackPool } from '../snapshots/unpack-pool.ts';
import { createImageService } from './create-image-service.ts';
import type { ImageService } from './image-service.ts';

export interface NodeImages extends AsyncDisposable {
  readonly service: ImageService;
}

/**
 * Opens the images of `instance`; recover() is the caller's to call. Disposal stops pulls and unpacking, and leaves
 * every mount in place, since containers outlive the process.
 */
export function openImages(
  instance: Instance,
  registries: RegistriesConfig,
  pinned: readonly string[],
  { log, onReceived }: { readonly log: Logger; readonly onReceived: RegistryClientOptions['onReceived'] },
): NodeImages {
  // Code that root's workers will run: nobody else may put any there.
  mkdirSync(paths.compileCache(instance), { recursive: true, mode: 0o700 });
  const pool = createUnpackPool(Math.min(Math.max(availableParallelism(), 2), 8), paths.compileCache(instance));
  const registry = createLazyRegistryClient({
    registries,
    ca: () => readClusterCa(join(paths.pki(instance), 'ca.crt')),
    ...(onReceived && { onReceived }),
  });
  const service = createImageService({
    contentDir: paths.content(instance),
    snapshotsDir: paths.snapshots(instance),
    registry,
    pinned,
    mounts: kernelMounts,
    pool,
    files: createLayerFiles(),
    log,
  });
  return {
    service,
    async [Symbol.asyncDispose]() {
      await registry.close();
      await pool[Symbol.asyncDispose]();
    },
  };
}

/** The authority of the cluster, for a registry that it runs; a shim without a cluster has none. */
function readClusterCa(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    return undefined;
  }
}
