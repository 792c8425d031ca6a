// The limits of writable layers where the kernel cannot keep them, as the kubelet does it without quotas: layers are
// measured on a thread of their own, and a container above its limit is ended. And the node's own share of the disk: when
// it is touched, the cache of builds goes, and then the largest layer of those that run.
import { statfsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { diskShortage, type DiskShortage } from '../../lib/disk-reserve.ts';
import { isAbort } from '../../lib/errors.ts';
import type { RunPart } from '../../lib/run-all.ts';
import type { ImageBuilder } from '../images/image-builder.ts';
import type { Shim } from '../rpc/deps.ts';
import { rootFilesystemId } from '../rpc/root-filesystem.ts';
import type { WritableLayer } from '../snapshots/container-store.ts';
import type { LayerLimits } from '../snapshots/layer-quota.ts';
import { createMeasureThread, type MeasureThread } from '../snapshots/measure-thread.ts';
import type { Usage } from '../snapshots/usage-cache.ts';
import { isLive, type ContainerRecord } from '../store/records.ts';
import { diskUse } from './disk-reserve.ts';
import { evictContainer } from './evict.ts';
import { describeExcess, layerLimitsOf } from './layer-limits.ts';
import { chooseVictim } from './choose-victim.ts';
import { isDue, type Measured } from './measuring-plan.ts';

/** One statfs(2) each time, as long as nothing grows. */
const LOOK_MS = 200;
/** Between two evictions for the node's sake: what the first one frees must be seen before there is a second. */
const RECLAIM_MS = 2_000;

/** The cache of builds: nobody misses it but the next build. */
export type BuildCache = Pick<ImageBuilder, 'cacheUsage' | 'pruneCache'>;

interface Watch {
  readonly shim: Shim;
  readonly buildCache: BuildCache;
  readonly thread: MeasureThread;
  readonly known: Map<string, Measured>;
  reclaimAfterMs: number;
}

/** Runs until `signal` fires. */
export function watchLayers(shim: Shim, buildCache: BuildCache): RunPart {
  return {
    name: 'writable layers',
    async run(signal) {
      await using thread = createMeasureThread();
      const watch: Watch = { shim, buildCache, thread, known: new Map(), reclaimAfterMs: 0 };
      try {
        for (;;) {
          await sleep(LOOK_MS, undefined, { signal });
          await look(watch, signal);
        }
      } catch (error) {
        if (!isAbort(error)) throw error;
      }
    },
  };
}

async function look(watch: Watch, signal: AbortSignal): Promise<void> {
  const { shim, known } = watch;
  const running = shim.store.containers.list().filter(isLive);
  const ids = new Set(running.map(({ id }) => id));
  for (const id of known.keys()) if (!ids.has(id)) known.delete(id);
  try {
    for (const record of running) {
      // A change of the limits is said in the record.
      const limits = layerLimitsOf(record.config, shim.storage.defaults);
      if (limits.bytes !== undefined || limits.inodes !== undefined) await keepLimits(watch, record, limits, signal);
    }
    await keepReserve(watch, running, signal);
  } catch (error) {
    if (isAbort(error)) throw error;
    shim.log.error({ err: error }, 'failed to look after the writable layers');
  }
}

async function keepLimits(watch: Watch, record: ContainerRecord, limits: LayerLimits, signal: AbortSignal) {
  const { shim, known } = watch;
  const layer = shim.images.writableLayer(rootFilesystemId(record));
  if (!layer) return;
  const disk = diskUse(shim.instance.home);
  const startedMs = performance.now();
  if (!isDue(known.get(record.id), limits, disk, startedMs, layer.isHeldByKernel)) return;
  const usage = await measure(watch, record, layer, limits, signal);
  const atMs = performance.now();
  known.set(record.id, { usage, disk, atMs, tookMs: atMs - startedMs });
  const excess = describeExcess(usage, limits);
  if (excess !== undefined) await evictContainer(shim, record.id, excess);
}

function measure(
  { shim, thread }: Watch,
  { cgroupsPath }: ContainerRecord,
  { upperDir, mergedDir }: WritableLayer,
  limits: LayerLimits,
  signal: AbortSignal,
): Promise<Usage> {
  return thread.measure({ upperDir, mergedDir, pids: shim.cgroups.pids(cgroupsPath), ...limits }, signal);
}

/** Lets go of cached steps of builds; where there are none, ends the container with the largest layer, if that would help. */
async function keepReserve(watch: Watch, running: readonly ContainerRecord[], signal: AbortSignal): Promise<void> {
  const { shim } = watch;
  if (performance.now() < watch.reclaimAfterMs) return;
  const shortage = diskShortage(statfsSync(shim.instance.home), shim.storage.reserve);
  if (!shortage) return;
  const freedBytes = await freeBuildCache(watch.buildCache, shortage).catch((err: unknown) => {
    // A disk without any room may be in its way, and that is no reason to leave the room to whoever took it.
    shim.log.warn({ err }, 'failed to free the cache of builds');
    return 0;
  });
  watch.reclaimAfterMs = performance.now() + RECLAIM_MS;
  if (freedBytes > 0) return;
  const usages = new Map<string, Usage>();
  for (const record of running) {
    const layer = shim.images.writableLayer(rootFilesystemId(record));
    if (layer) usages.set(record.id, await measure(watch, record, layer, {}, signal));
  }
  watch.reclaimAfterMs = performance.now() + RECLAIM_MS;
  const victim = chooseVictim(usages, shortage);
  if (victim === undefined) return;
  const { usedBytes, inodes } = usages.get(victim) as Usage;
  const what = `its writable layer (${inodes} files and folders, ${usedBytes} bytes) is the largest`;
  await evictContainer(shim, victim, `the disk of the node is nearly full: ${shortage.message}; ${what}`);
}

/** Bytes that it freed: what is missing and as much again, or all of it where files are what there are too many of. */
async function freeBuildCache(cache: BuildCache, { kind, missing }: DiskShortage): Promise<number> {
  const { entries, sizeBytes } = await cache.cacheUsage();
  if (entries === 0) return 0;
  return cache.pruneCache(kind === 'bytes' ? Math.max(sizeBytes - 2 * missing, 0) : 0);
}
