// Metrics of builds.
import { Counter, Gauge, Histogram, type Registry } from '../lib/metrics.ts';
import type { BuildCacheUsage } from '../runtime-shim/images/image-builder.ts';

export interface BuildMetrics {
  /** A build ended after `seconds`. */
  observe(result: 'succeeded' | 'failed' | 'aborted', seconds: number): void;
  /** Steps of a build that succeeded. */
  countSteps(cached: number, run: number): void;
  /** Tells what the cache holds at each scrape. */
  watch(usage: () => Promise<BuildCacheUsage>): void;
}

/** Registers them. */
export function createBuildMetrics(registry: Registry): BuildMetrics {
  const registers = [registry];
  const builds = new Histogram({
    name: 'windlass_build_duration_seconds',
    help: 'Duration of builds, by how they ended.',
    labelNames: ['result'],
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800],
    registers,
  });
  const steps = new Counter({
    name: 'windlass_build_steps_total',
    help: 'Instructions that may add a layer, by whether their layer was in the cache.',
    labelNames: ['cached'],
    registers,
  });
  return {
    observe: (result, seconds) => builds.observe({ result }, seconds),
    countSteps(cached, run) {
      steps.inc({ cached: 'true' }, cached);
      steps.inc({ cached: 'false' }, run);
    },
    watch(usage) {
      const entries = new Gauge({
        name: 'windlass_build_cache_entries',
        help: 'Steps and cache mounts that the layer cache of builds holds.',
        registers,
      });
      // Registered by being made.
      new Gauge({
        name: 'windlass_build_cache_bytes',
        help: 'Bytes that the layer cache of builds holds.',
        registers,
        async collect() {
          const { sizeBytes, entries: count } = await usage();
          this.set(sizeBytes);
          entries.set(count);
        },
      });
    },
  };
}
