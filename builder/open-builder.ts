// The builder of one node, composed from its parts.
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createKeyedQueue } from '../lib/keyed-queue.ts';
import { createLimit } from '../lib/limit.ts';
import type { Logger } from '../lib/log.ts';
import type { ImageParts } from '../runtime-shim/images/create-image-service.ts';
import type { BuildCacheUsage, ImageBuilder } from '../runtime-shim/images/image-builder.ts';
import type { ImageService } from '../runtime-shim/images/image-service.ts';
import type { BuildMetrics } from './build-metrics.ts';
import { build, type BuildParts } from './build.ts';
import { openStepCache } from './cache/step-cache.ts';
import type { BuilderFiles, OpenContext } from './files/builder-files.ts';
import type { CacheMounts } from './run/cache-mounts.ts';
import type { Runner } from './run/runner.ts';
import { openWorkspaces } from './workspaces.ts';

/** What RUN instructions write is mostly waited for, not worked on. */
const STEPS_AT_ONCE = Math.max(availableParallelism(), 4);

/** A step that was not used for so long is forgotten. */
const MAX_AGE_MS = 30 * 24 * 3600 * 1000;

export interface BuilderOptions {
  /** Folder of the builder alone. */
  readonly folder: string;
  readonly images: ImageService;
  readonly content: ImageParts;
  readonly files: BuilderFiles;
  readonly openContext: OpenContext;
  readonly runner: Runner;
  readonly cacheMounts: CacheMounts;
  readonly openNetwork: BuildParts['openNetwork'];
  /** Most bytes that cached steps keep. */
  readonly maxCacheBytes: number;
  readonly metrics: BuildMetrics;
  readonly log: Logger;
  readonly now: () => number;
}

/** Opens the builder; recover() before anything else, and before the images recover. */
export function openBuilder(options: BuilderOptions): ImageBuilder {
  const { content, runner, cacheMounts, metrics, log } = options;
  const cache = openStepCache(join(options.folder, 'cache'), content.store, {
    maxBytes: options.maxCacheBytes,
    maxAgeMs: MAX_AGE_MS,
  });
  content.keep(cache);
  const workspaces = openWorkspaces(content.snapshotsDir, content.layers, content.mounts);
  const parts: BuildParts = { ...options, cache, workspaces, limit: createLimit(STEPS_AT_ONCE) };
  const builds = createKeyedQueue();
  metrics.watch(cacheUsage);
  return {
    build: (request, call) =>
      builds.run(request.id, async () => {
        call.signal.throwIfAborted();
        const startedAt = options.now();
        const seconds = (): number => (options.now() - startedAt) / 1000;
        try {
          const result = await build(parts, request, call);
          const { steps, cachedSteps, digest } = result;
          metrics.observe('succeeded', seconds());
          metrics.countSteps(cachedSteps, result.performedSteps);
          log.info({ build: request.id, digest, steps, cachedSteps, seconds: seconds() }, 'built an image');
          return result;
        } catch (error) {
          metrics.observe(call.signal.aborted ? 'aborted' : 'failed', seconds());
          throw error;
        }
      }),
    cacheUsage,
    async pruneCache(keepBytes) {
      const steps = await cache.prune(Math.max(keepBytes - (await cacheMounts.usage()), 0));
      const mounts = await cacheMounts.prune({ maxBytes: keepBytes });
      await content.collect();
      return steps + mounts;
    },
    async recover() {
      await runner.recover();
      await workspaces.recover();
    },
  };

  async function cacheUsage(): Promise<BuildCacheUsage> {
    const steps = cache.usage((digest) => content.hasImageBlob(digest));
    const mounts = await cacheMounts.list();
    const mountedBytes = mounts.reduce((sum, { usedBytes }) => sum + usedBytes, 0);
    return {
      entries: steps.entries + mounts.length,
      sizeBytes: steps.sizeBytes + mountedBytes,
      sharedBytes: steps.sharedBytes,
    };
  }
}
