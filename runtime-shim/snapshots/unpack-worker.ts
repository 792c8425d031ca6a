// A worker thread that unpacks one layer after another: file calls there are synchronous and would stop the shim's
// event loop for seconds.
import { parentPort, workerData } from 'node:worker_threads';
import { createWholeGzip } from '../../oci/layers/inflate-gzip.ts';
import { unpackLayer, type UnpackRequest } from '../../oci/layers/unpack.ts';
import type { ApplyResult } from '../../oci/layers/apply.ts';
import { messageOf, WindlassError, type Reason } from '../../lib/errors.ts';
import { createGzipInflater } from '../host/gzip.ts';
import { createLayerFiles } from '../host/layer-files.ts';

export interface UnpackWorkerOptions {
  /** Most memory for one layer that is inflated in one go. */
  readonly maxWholeBytes: number;
}

export type UnpackReply =
  | { readonly kind: 'done'; readonly result: ApplyResult }
  | { readonly kind: 'failed'; readonly reason: Reason; readonly message: string };

const calls = createLayerFiles();
const inflate = createGzipInflater();
const whole = inflate && createWholeGzip(inflate, (workerData as UnpackWorkerOptions).maxWholeBytes);

async function unpack(request: UnpackRequest): Promise<UnpackReply> {
  try {
    return { kind: 'done', result: await unpackLayer(request, calls, whole) };
  } catch (error) {
    const reason = error instanceof WindlassError ? error.reason : 'Internal';
    return { kind: 'failed', reason, message: messageOf(error) };
  }
}

parentPort?.on('message', (request: UnpackRequest) => {
  void unpack(request).then((reply) => parentPort?.postMessage(reply));
});
