// A few worker threads for unpacking, started when needed and stopped when idle.
import { Worker } from 'node:worker_threads';
import { WindlassError } from '../../lib/errors.ts';
import type { ApplyResult } from '../../oci/layers/apply.ts';
import type { UnpackRequest } from '../../oci/layers/unpack.ts';
import type { UnpackReply } from './unpack-worker.ts';

const IDLE_MS = 5000;

export interface UnpackPool extends AsyncDisposable {
  /** Unpacks one layer in a worker. An abort ends the worker at once; what it wrote is the caller's to delete. */
  unpack(request: UnpackRequest, signal: AbortSignal): Promise<ApplyResult>;
}

/** A pool of at most `size` workers. */
export function createUnpackPool(size: number): UnpackPool {
  const idle: { worker: Worker; timer: NodeJS.Timeout }[] = [];
  const waiting: (() => void)[] = [];
  const running = new Set<Worker>();
  let isClosed = false;

  function acquire(): Worker {
    const ready = idle.pop();
    if (ready) clearTimeout(ready.timer);
    const worker = ready?.worker ?? new Worker(new URL('./unpack-worker.ts', import.meta.url));
    worker.removeAllListeners();
    worker.ref();
    running.add(worker);
    return worker;
  }

  function release(worker: Worker, isUsable: boolean): void {
    running.delete(worker);
    if (isUsable && !isClosed) {
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
    waiting.shift()?.();
  }

  return {
    async unpack(request, signal) {
      while (running.size >= size) await new Promise<void>((resolve) => waiting.push(resolve));
      if (isClosed) throw new WindlassError('Unavailable', 'the unpacking of layers has stopped');
      if (signal.aborted) {
        waiting.shift()?.();
        signal.throwIfAborted();
      }
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
      worker.once('error', reject);
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
