// A real image service on a temporary home, for tests that need root (overlay mounts).
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../lib/log.ts';
import { createRegistryClient, type RegistryClientOptions } from '../../oci/distribution/create-registry-client.ts';
import { createLayerFiles } from '../../runtime-shim/host/layer-files.ts';
import { umountTree } from '../../runtime-shim/host/mount.ts';
import { createImageService } from '../../runtime-shim/images/create-image-service.ts';
import type { ImageService } from '../../runtime-shim/images/image-service.ts';
import { kernelMounts } from '../../runtime-shim/snapshots/overlay-mounts.ts';
import { createUnpackPool } from '../../runtime-shim/snapshots/unpack-pool.ts';

export interface TestImages extends AsyncDisposable {
  readonly home: string;
  readonly service: ImageService;
  /** A second service on the same folders, as after a restart. */
  restart(): Promise<ImageService>;
}

/** Opens an image service on an empty home; disposal unmounts and deletes everything. */
export async function openTestImages(
  options: Partial<RegistryClientOptions> = {},
  prepare: (home: string) => void = () => undefined,
): Promise<TestImages> {
  const home = mkdtempSync(join(tmpdir(), 'windlass-images-'));
  prepare(home);
  const pool = createUnpackPool(2);
  const registry = createRegistryClient({
    registries: { registries: {} },
    retryDelayMs: 5,
    timeoutMs: 2000,
    ...options,
  });
  const open = async (): Promise<ImageService> => {
    const service = createImageService({
      contentDir: join(home, 'content'),
      snapshotsDir: join(home, 'snapshots'),
      registry,
      mounts: kernelMounts,
      pool,
      files: createLayerFiles(),
      log: silentLogger(),
    });
    await service.recover();
    return service;
  };
  return {
    home,
    service: await open(),
    restart: open,
    async [Symbol.asyncDispose]() {
      await registry.close();
      await pool[Symbol.asyncDispose]();
      umountTree(home);
      rmSync(home, { recursive: true, force: true });
    },
  };
}
