// A few worker threads for unpacking, started when needed and stopped when idle.
import { Worker } from 'node:worker_threads';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { createLimit } from '../../lib/limit.ts';
import type { ApplyResult } from '../../oci/layers/apply.ts';
import type { UnpackRequest } from '../../oci/layers/unpack.ts';
import type { UnpackReply, UnpackWorkerOptions } from './unpack-worker.ts';

const IDLE_MS = 5000;
/** Memory that all workers together may hold for layers inflated in one go. */
const WHOLE_LAYERS_BYTES = 1024 ** 3;
const MAX_WHOLE_LAYER_BYTES = 256 * 1024 * 1024;
/** A layer of millions of directories runs into this and takes its worker along, not the shim. */
const resourceLimits = { maxOldGenerationSizeMb: 768 } as const;

export interface UnpackPool extends AsyncDisposable {
  /** Unpacks one layer in a worker. An abort ends the worker at once; what it wrote is the caller's to delete. */
  unpack(request: UnpackRequest & { readonly sizeBytes: number }, signal: AbortSignal): Promise<ApplyResult>;
  /** Starts the workers that `layers` layers will want, so that they are ready when the first bytes are. */
  warm(layers: number): void;
}

/**
 * A pool of at most `size` workers. `compileCacheDir` keeps their compiled code: a worker that finds it starts in less
 * than half the time.
 */
export function createUnpackPool(size: number, compileCacheDir?: string): UnpackPool {
  const workerData: UnpackWorkerOptions = {
    maxWholeBytes: Math.min(MAX_WHOLE_LAYER_BYTES, Math.floor(WHOLE_LAYERS_BYTES / size)),
  };
  const env = compileCacheDir === undefined ? process.env : { ...process.env, NODE_COMPILE_CACHE: compileCacheDir };
  const idle: { worker: Worker; timer: NodeJS.Timeout }[] = [];
  const limit = createLimit(size);
  const running = new Set<Worker>();
  let isClosed = false;

  function acquire(): Worker {
    const ready = idle.pop();
    if (ready) clearTimeout(ready.timer);
    const worker = ready?.worker ?? start();
    worker.removeAllListeners();
    worker.ref();
    running.add(worker);
    return worker;
  }

  const start = (): Worker =>
    new Worker(new URL('./unpack-worker.ts', import.meta.url), { workerData, env, resourceLimits });

  function release(worker: Worker, isUsable: boolean): void {
    running.delete(worker);
    if (isUsable && !isClosed) keep(worker);
  }

  function keep(worker: Worker): void {
    worker.unref();
    const forget = (): void => {
      const at = idle.findIndex((entry) => entry.worker === worker);
      if (at !== -1) idle.splice(at, 1);
    };
    const timer = setTimeout(() => {
      forget();
      void worker.terminate();
    }, IDLE_MS).unref();
    idle.push({ worker, timer });
    worker.once('error', forget);
    worker.once('exit', forget);
  }

  return {
    unpack: (request, signal) =>
      limit(request.sizeBytes, signal, async () => {
        if (isClosed) throw new WindlassError('Unavailable', 'the unpacking of layers has stopped');
        const worker = acquire();
        let isUsable = false;
        try {
          const reply = await runOne(worker, request, signal);
          isUsable = true;
          if (reply.kind === 'failed') throw new WindlassError(reply.reason, reply.message);
          return reply.result;
        } finally {
          if (!isUsable) await worker.terminate();
          release(worker, isUsable);
        }
      }),
    warm(layers) {
      if (isClosed) return;
      for (let count = running.size + idle.length; count < Math.min(size, layers); count += 1) keep(start());
    },
    async [Symbol.asyncDispose]() {
      isClosed = true;
      const workers = [...idle.splice(0).map(({ worker, timer }) => (clearTimeout(timer), worker)), ...running];
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}

async function runOne(worker: Worker, request: UnpackRequest, signal: AbortSignal): Promise<UnpackReply> {
  const listeners = new AbortController();
  try {
    return await new Promise<UnpackReply>((resolve, reject) => {
      const onExit = (): void => reject(new WindlassError('Internal', `layer ${request.digest}: the unpacker ended`));
      const onAbort = (): void => reject(signal.reason as Error);
      worker.once('message', resolve);
      worker.once('error', (error) => reject(unpackerError(request.digest, error)));
      worker.once('exit', onExit);
      signal.addEventListener('abort', onAbort, { once: true, signal: listeners.signal });
      worker.postMessage(request);
    });
  } finally {
    listeners.abort();
    worker.removeAllListeners('message');
    worker.removeAllListeners('error');
    worker.removeAllListeners('exit');
  }
}

function unpackerError(digest: string, error: unknown): unknown {
  if (errnoOf(error) !== 'ERR_WORKER_OUT_OF_MEMORY') return error;
  return new WindlassError('Invalid', `layer ${digest}: needs too much memory to unpack`, { cause: error });
}
