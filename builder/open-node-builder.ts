// The builder of this node, on the parts of its shim.
import { join } from 'node:path';
import { systemClock } from '../lib/clock.ts';
import { paths, type Instance } from '../lib/instance.ts';
import type { Registry } from '../lib/metrics.ts';
import type { ImageParts } from '../runtime-shim/images/create-image-service.ts';
import type { ImageBuilder } from '../runtime-shim/images/image-builder.ts';
import type { ImageService } from '../runtime-shim/images/image-service.ts';
import { createBuildMetrics } from './build-metrics.ts';
import type { BuildParts } from './build.ts';
import { createBuilderFiles } from './files/create-builder-files.ts';
import { openContext } from './files/open-context.ts';
import { openBuilder } from './open-builder.ts';
import { openCacheMounts } from './run/cache-mounts.ts';
import { createRunner } from './run/run-step.ts';
import type { RunnerParts } from './run/runner.ts';

export interface NodeBuilderOptions extends Omit<RunnerParts, 'caches'> {
  readonly instance: Instance;
  readonly images: ImageService;
  readonly content: ImageParts;
  readonly openNetwork: BuildParts['openNetwork'];
  readonly maxCacheBytes: number;
  readonly registry: Registry;
}

export interface NodeBuilder extends AsyncDisposable {
  readonly builder: ImageBuilder;
}

/** Opens it; recover() is the caller's to call, before the images recover. Disposal ends its threads. */
export function openNodeBuilder(options: NodeBuilderOptions): NodeBuilder {
  const { instance, images, content, openNetwork, maxCacheBytes, log, spawner } = options;
  const folder = paths.builder(instance);
  const { now } = systemClock;
  const files = createBuilderFiles({ compileCacheDir: paths.compileCache(instance) });
  const cacheMounts = openCacheMounts({ spawner, folder: join(folder, 'mounts'), now });
  const builder = openBuilder({
    ...{ folder, images, content, files, openContext, cacheMounts, openNetwork, maxCacheBytes, log, now },
    metrics: createBuildMetrics(options.registry),
    runner: createRunner({ ...options, caches: cacheMounts }),
  });
  return { builder, [Symbol.asyncDispose]: () => files[Symbol.asyncDispose]() };
}
