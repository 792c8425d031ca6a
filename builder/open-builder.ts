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
/** Looking through cache mounts takes a while: they may be as large as they like in between. */
const TRIM_EVERY_MS = 10 * 60_000;

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
  /** Most bytes that cached steps keep, and most that cache mounts do. */
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
  let mountsTrimmedAt = 0;
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
        } finally {
          tidy();
        }
      }),
    cacheUsage,
    async pruneCache(keepBytes) {
      // Where both have more than there is room for, each keeps half of it.
      const held = cache.usage(new Set()).sizeBytes;
      const mounts = await cacheMounts.prune({ maxBytes: Math.max(keepBytes - held, Math.floor(keepBytes / 2)) });
      const steps = await cache.prune(Math.max(keepBytes - (await cacheMounts.usage()), 0));
      await content.collect();
      return steps + mounts;
    },
    async recover() {
      await runner.recover();
      await workspaces.recover();
    },
  };

  /** What a build has let go of is deleted beside the next one. */
  function tidy(): void {
    if (cache.takeReleased()) void content.collect();
    const isDue = options.now() - mountsTrimmedAt >= TRIM_EVERY_MS;
    if (!isDue) return;
    mountsTrimmedAt = options.now();
    const rules = { unusedForMs: MAX_AGE_MS, maxBytes: options.maxCacheBytes };
    cacheMounts.prune(rules).catch((err: unknown) => log.warn({ err }, 'failed to trim the cache mounts of builds'));
  }

  async function cacheUsage(): Promise<BuildCacheUsage> {
    const steps = cache.usage(content.imageBlobs());
    const mounts = await cacheMounts.list();
    const mountedBytes = mounts.reduce((sum, { usedBytes }) => sum + usedBytes, 0);
    return {
      entries: steps.entries + mounts.length,
      sizeBytes: steps.sizeBytes + mountedBytes,
      sharedBytes: steps.sharedBytes,
    };
  }
}
