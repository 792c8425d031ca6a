// A thread that does the large jobs, one after another: its file calls are synchronous, and would stop the event loop of
// the process for seconds.
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf, WindlassError, type ErrorDetails, type Reason } from '../../lib/errors.ts';
import type { WrittenLayer } from '../../oci/layers/diff-layer.ts';
import { createLayerFiles } from '../../runtime-shim/host/layer-files.ts';
import { createContentMemo } from './content-memo.ts';
import {
  packPlan,
  runApplyJob,
  runLayerJob,
  runPlanJob,
  type ApplyJob,
  type LayerJob,
  type PackedPlan,
  type PlanJob,
} from './file-jobs.ts';
import type { PlannedCopy } from './plan-copy.ts';

export interface FileWorkerData {
  /** What an earlier thread remembered. */
  readonly memo?: Uint8Array;
}

/** `memo` asks for what the thread remembers. */
export type FileJob = PlanJob | ApplyJob | LayerJob | { readonly kind: 'memo' };

export type PackedCopy = Omit<PlannedCopy, 'plan'> & { readonly plan: PackedPlan };

export type FileReply =
  | { readonly kind: 'plan'; readonly result: PackedCopy }
  | { readonly kind: 'apply' }
  | { readonly kind: 'layer'; readonly result: WrittenLayer }
  | { readonly kind: 'memo'; readonly memo: Uint8Array }
  | { readonly kind: 'failed'; readonly reason: Reason; readonly message: string; readonly details: ErrorDetails };

const calls = createLayerFiles();
const memo = createContentMemo((workerData as FileWorkerData).memo);

async function run(job: FileJob): Promise<FileReply> {
  const context = { calls, memo };
  switch (job.kind) {
    case 'plan': {
      const planned = await runPlanJob(job, context);
      return { kind: 'plan', result: { ...planned, plan: packPlan(planned.plan) } };
    }
    case 'apply':
      await runApplyJob(job, context);
      return { kind: 'apply' };
    case 'layer':
      return { kind: 'layer', result: await runLayerJob(job, context) };
    case 'memo':
      return { kind: 'memo', memo: new Uint8Array(memo.pack()) };
  }
}

async function answer(job: FileJob): Promise<FileReply> {
  try {
    return await run(job);
  } catch (error) {
    const known = error instanceof WindlassError ? error : undefined;
    return {
      kind: 'failed',
      reason: known?.reason ?? 'Internal',
      message: messageOf(error),
      details: known?.details ?? {},
    };
  }
}

parentPort?.on('message', (job: FileJob) => {
  void answer(job).then((reply) => parentPort?.postMessage(reply, transferable(reply)));
});

function transferable(reply: FileReply): ArrayBuffer[] {
  if (reply.kind === 'plan') return [reply.result.plan.packed.buffer as ArrayBuffer];
  return reply.kind === 'memo' ? [reply.memo.buffer as ArrayBuffer] : [];
}
