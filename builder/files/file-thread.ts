// One thread of file-worker.ts: started when first needed, ended when idle. What it remembers of contents outlives it.
import { Worker } from 'node:worker_threads';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { createLimit } from '../../lib/limit.ts';
import type { WrittenLayer } from '../../oci/layers/diff-layer.ts';
import type { ApplyJob, LayerJob, PlanJob } from './file-jobs.ts';
import type { FileJob, FileReply, FileWorkerData, PackedCopy } from './file-worker.ts';

type Done = Exclude<FileReply, { readonly kind: 'failed' }>;

const IDLE_MS = 30_000;
/** A tree of more than a million files needs more, and ends the thread, not the process. */
const resourceLimits = { maxOldGenerationSizeMb: 1024 } as const;

/** Each call does one job, in turn. An abort ends the thread at once, wherever it is. */
export interface FileThread extends AsyncDisposable {
  plan(job: PlanJob, signal: AbortSignal): Promise<PackedCopy>;
  apply(job: ApplyJob, signal: AbortSignal): Promise<void>;
  layer(job: LayerJob, signal: AbortSignal): Promise<WrittenLayer>;
}

export function createFileThread(compileCacheDir?: string): FileThread {
  const limit = createLimit(1);
  const env = compileCacheDir === undefined ? process.env : { ...process.env, NODE_COMPILE_CACHE: compileCacheDir };
  const closing = new AbortController();
  let worker: Worker | undefined;
  let timer: NodeJS.Timeout | undefined;
  let memo: Uint8Array | undefined;

  async function end(): Promise<void> {
    clearTimeout(timer);
    const ended = worker;
    worker = undefined;
    // Whoever waits for the end is not to be left without an event loop.
    ended?.ref();
    await ended?.terminate();
  }

  async function endIdle(): Promise<void> {
    try {
      const reply = await ask({ kind: 'memo' }, closing.signal);
      if (reply.kind === 'memo') memo = reply.memo;
    } catch {
      // It ended by itself, or the process is about to: what it knew is read again.
    }
    await end();
  }

  async function ask(job: FileJob, signal: AbortSignal): Promise<Done> {
    clearTimeout(timer);
    const workerData: FileWorkerData = memo ? { memo } : {};
    worker ??= new Worker(new URL('./file-worker.ts', import.meta.url), { resourceLimits, workerData, env });
    const current = worker;
    const listeners = new AbortController();
    current.ref();
    try {
      const reply = await new Promise<FileReply>((resolve, reject) => {
        current.once('message', resolve);
        current.once('error', (error) => reject(threadError(error)));
        current.once('exit', () => reject(new WindlassError('Internal', 'the thread that copies files ended')));
        signal.addEventListener('abort', () => reject(signal.reason as Error), { signal: listeners.signal });
        current.postMessage(job);
      });
      current.unref();
      if (reply.kind !== 'failed') return reply;
      throw new WindlassError(reply.reason, reply.message, { details: reply.details });
    } catch (error) {
      // It may still be at work: its answer would be taken for that to the next question.
      if (!(error instanceof WindlassError) || error.reason === 'Internal') await end();
      throw error;
    } finally {
      listeners.abort();
      for (const event of ['message', 'error', 'exit']) current.removeAllListeners(event);
    }
  }

  const run = (job: FileJob, signal: AbortSignal): Promise<Done> =>
    limit(0, signal, async () => {
      const either = AbortSignal.any([signal, closing.signal]);
      either.throwIfAborted();
      try {
        return await ask(job, either);
      } finally {
        timer = setTimeout(() => void limit(0, closing.signal, endIdle).catch(() => undefined), IDLE_MS).unref();
      }
    });

  return {
    async plan(job, signal) {
      const reply = await run(job, signal);
      if (reply.kind !== 'plan') throw wrongReply(job, reply);
      return reply.result;
    },
    async apply(job, signal) {
      const reply = await run(job, signal);
      if (reply.kind !== 'apply') throw wrongReply(job, reply);
    },
    async layer(job, signal) {
      const reply = await run(job, signal);
      if (reply.kind !== 'layer') throw wrongReply(job, reply);
      return reply.result;
    },
    async [Symbol.asyncDispose]() {
      closing.abort(new WindlassError('Unavailable', 'the builder has stopped'));
      await end();
    },
  };
}

function wrongReply(job: FileJob, reply: Done): WindlassError {
  return new WindlassError('Internal', `the thread that copies files answered ${reply.kind} to ${job.kind}`);
}

function threadError(error: unknown): unknown {
  if (errnoOf(error) !== 'ERR_WORKER_OUT_OF_MEMORY') return error;
  return new WindlassError('Invalid', 'there are too many files to copy at once', { cause: error });
}
