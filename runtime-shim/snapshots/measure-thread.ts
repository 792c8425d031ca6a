// One worker thread that measures writable layers, one after another: started when first needed, ended when idle.
import { Worker } from 'node:worker_threads';
import { createLimit } from '../../lib/limit.ts';
import type { LayerToMeasure } from './measure-layer.ts';
import type { MeasureReply } from './measure-worker.ts';
import type { Usage } from './usage-cache.ts';

const IDLE_MS = 60_000;
/** A layer of a million linked files needs about 100 MB; one that needs more ends the thread, not the shim. */
const resourceLimits = { maxOldGenerationSizeMb: 256 } as const;

export interface MeasureThread extends AsyncDisposable {
  /** Throws when the thread ends while it measures. */
  measure(layer: LayerToMeasure, signal: AbortSignal): Promise<Usage>;
}

export function createMeasureThread(): MeasureThread {
  const limit = createLimit(1);
  let worker: Worker | undefined;
  let timer: NodeJS.Timeout | undefined;

  async function end(): Promise<void> {
    clearTimeout(timer);
    const ended = worker;
    worker = undefined;
    await ended?.terminate();
  }

  async function ask(layer: LayerToMeasure, signal: AbortSignal): Promise<Usage> {
    clearTimeout(timer);
    worker ??= new Worker(new URL('./measure-worker.ts', import.meta.url), { resourceLimits });
    const current = worker;
    const listeners = new AbortController();
    current.ref();
    try {
      const reply = await new Promise<MeasureReply>((resolve, reject) => {
        current.once('message', resolve);
        current.once('error', reject);
        current.once('exit', () => reject(new Error('the thread that measures layers ended')));
        signal.addEventListener('abort', () => reject(signal.reason as Error), { signal: listeners.signal });
        current.postMessage(layer);
      });
      if ('error' in reply) throw new Error(reply.error);
      timer = setTimeout(() => void end(), IDLE_MS).unref();
      current.unref();
      return reply.usage;
    } catch (error) {
      // It may still be at work: its answer would be taken for that to the next question.
      await end();
      throw error;
    } finally {
      listeners.abort();
      for (const event of ['message', 'error', 'exit']) current.removeAllListeners(event);
    }
  }

  return {
    measure: (layer, signal) => limit(0, signal, () => ask(layer, signal)),
    [Symbol.asyncDispose]: end,
  };
}
