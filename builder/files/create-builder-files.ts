// Chooses where the jobs of builder-files.ts are done: small ones at once, in turns with everything else on the event loop,
// large ones on two threads, of which one reads (and remembers what it read) and the other writes.
import { lstatSync, opendirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { reasonOf } from '../../lib/errors.ts';
import { bytePath, nativePath } from '../../oci/layers/file-system-calls.ts';
import { createLayerFiles } from '../../runtime-shim/host/layer-files.ts';
import type { BuilderFiles, BuilderFilesOptions, ResolvedCopy } from './builder-files.ts';
import { createContentMemo } from './content-memo.ts';
import type { CopyPlan } from './copy-plan.ts';
import { fetchSources } from './fetch-sources.ts';
import { runApplyJob, runLayerJob, runPlanJob, type PackedPlan, type PlanJob } from './file-jobs.ts';
import { createFileThread } from './file-thread.ts';
import type { PackedCopy } from './file-worker.ts';
import type { PlannedCopy } from './plan-copy.ts';
import { createPause } from './turns.ts';

/** What the event loop does faster than a thread starts. */
const SMALL = { entries: 500, bytes: 4 * 1024 * 1024 } as const;

/** Of archives among it; one that holds more is unpacked by the thread. */
const SMALL_ARCHIVES = { maxBytes: SMALL.bytes, maxEntries: SMALL.entries } as const;

/** Half of PATH_MAX. */
const LONG_PATH = 2048;

class NotSmall extends Error {}

/** See BuilderFiles. */
export function createBuilderFiles(options: BuilderFilesOptions = {}): BuilderFiles {
  const calls = createLayerFiles();
  const memo = createContentMemo();
  const reader = createFileThread(options.compileCacheDir);
  const writer = createFileThread(options.compileCacheDir);
  const here = (signal: AbortSignal) => ({ calls, memo, pause: createPause(signal) });

  async function plan(job: PlanJob, signal: AbortSignal): Promise<PlannedCopy | PackedCopy> {
    const left = { ...SMALL } as { entries: number; bytes: number };
    const onWork = (entries: number, bytes: number): void => {
      left.entries -= entries;
      left.bytes -= bytes;
      if (left.entries < 0 || left.bytes < 0) throw new NotSmall();
    };
    try {
      return await runPlanJob(job, { ...here(signal), onWork });
    } catch (error) {
      if (!(error instanceof NotSmall)) throw error;
    }
    return await reader.plan(job, signal);
  }

  return {
    async resolveCopy(operation, tree, { signal, ...rest }) {
      const sources = await fetchSources(operation, tree, { signal, ...rest });
      return await plan({ kind: 'plan', operation, sources }, signal);
    },
    async applyCopy(resolved, root, { signal, workDir, usersRoot = root }) {
      const job = { kind: 'apply', plan: resolved.plan as CopyPlan | PackedPlan, root, usersRoot, workDir } as const;
      if (isSmallPlan(resolved)) {
        try {
          return await runApplyJob(job, { ...here(signal), archiveLimits: SMALL_ARCHIVES });
        } catch (error) {
          // What was copied so far is copied again, over itself.
          if (reasonOf(error) !== 'Invalid' || !hasArchive(resolved)) throw error;
        }
      }
      await writer.apply(job, signal);
    },
    async writeLayer(upperDir, target, { signal, ...layerOptions }) {
      const job = { kind: 'layer', upperDir, target, options: layerOptions } as const;
      if (isSmallTree(upperDir)) return await runLayerJob(job, here(signal));
      try {
        return await writer.layer(job, signal);
      } catch (error) {
        // The thread removes what it began, unless it was ended.
        if (signal.aborted) await rm(target, { force: true });
        throw error;
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([reader[Symbol.asyncDispose](), writer[Symbol.asyncDispose]()]);
    },
  };
}

function isSmallPlan({ plan, entries, sizeBytes }: ResolvedCopy): boolean {
  return !('packed' in (plan as CopyPlan | PackedPlan)) && entries <= SMALL.entries && sizeBytes <= SMALL.bytes;
}

function hasArchive({ plan }: ResolvedCopy): boolean {
  return (plan as CopyPlan).sources.some(({ isUnpacked }) => isUnpacked);
}

function isSmallTree(folder: string): boolean {
  const left = { ...SMALL } as { entries: number; bytes: number };
  const todo = [bytePath(folder)];
  for (let at = todo.pop(); at !== undefined; at = todo.pop()) {
    // Nested so deeply that paths get too long: for writeLayer(), which knows how.
    if (at.length > LONG_PATH) return false;
    using handle = opendirSync(nativePath(at) as string, { encoding: 'latin1' });
    for (let entry = handle.readSync(); entry; entry = handle.readSync()) {
      left.entries -= 1;
      const path = `${at}/${entry.name}`;
      if (entry.isDirectory()) todo.push(path);
      else if (entry.isFile()) left.bytes -= lstatSync(nativePath(path)).size;
      if (left.entries < 0 || left.bytes < 0) return false;
    }
  }
  return true;
}
