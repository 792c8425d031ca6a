// The thread of measure-thread.ts: a layer of a million files takes seconds of system calls.
import { parentPort } from 'node:worker_threads';
import { messageOf } from '../../lib/errors.ts';
import { measureLayer, type LayerToMeasure } from './measure-layer.ts';
import type { Usage } from './usage-cache.ts';

export type MeasureReply = { readonly usage: Usage } | { readonly error: string };

function measure(layer: LayerToMeasure): MeasureReply {
  try {
    return { usage: measureLayer(layer) };
  } catch (error) {
    return { error: messageOf(error) };
  }
}

parentPort?.on('message', (layer: LayerToMeasure) => parentPort?.postMessage(measure(layer)));
