// The three jobs of builder-files.ts as data, so that either thread can do them.
import { deserialize, serialize } from 'node:v8';
import type { ApplyOptions } from '../../oci/layers/apply.ts';
import { writeLayer, type LayerOptions, type WrittenLayer } from '../../oci/layers/diff-layer.ts';
import type { FileSystemCalls } from '../../oci/layers/file-system-calls.ts';
import type { CopyOperation } from '../operations.ts';
import { applyPlan } from './apply-plan.ts';
import type { ContentMemo } from './content-memo.ts';
import type { CopyPlan } from './copy-plan.ts';
import { resolveOwner } from './destination.ts';
import { planCopy, type PlannedCopy, type SourceRequest } from './plan-copy.ts';
import { unpackArchive } from './unpack-archive.ts';

export interface PlanJob {
  readonly kind: 'plan';
  readonly operation: CopyOperation;
  readonly sources: readonly SourceRequest[];
}

export interface ApplyJob {
  readonly kind: 'apply';
  readonly plan: CopyPlan | PackedPlan;
  readonly root: string;
  readonly usersRoot: string;
  readonly workDir: string;
}

export interface LayerJob {
  readonly kind: 'layer';
  readonly upperDir: string;
  readonly target: string;
  readonly options: LayerOptions;
}

/** A plan in a form that costs nothing to hand to another thread. */
export interface PackedPlan {
  readonly packed: Uint8Array;
}

export interface JobContext {
  readonly calls: FileSystemCalls;
  readonly memo: ContentMemo;
  readonly onWork?: (entries: number, bytes: number) => void;
  readonly pause?: () => Promise<void> | undefined;
  /** Of what an ADD unpacks. */
  readonly archiveLimits?: Partial<ApplyOptions>;
}

export function runPlanJob(job: PlanJob, { calls, memo, pause, onWork }: JobContext): Promise<PlannedCopy> {
  const noLimit = (): void => undefined;
  return planCopy(job.operation, job.sources, { calls, memo, onWork: onWork ?? noLimit, ...(pause ? { pause } : {}) });
}

export async function runApplyJob(job: ApplyJob, { calls, pause, archiveLimits }: JobContext): Promise<void> {
  const plan = 'packed' in job.plan ? unpackPlan(job.plan) : job.plan;
  const paused = pause ? { pause } : {};
  await applyPlan(plan, job.root, {
    calls,
    owner: plan.chown === undefined ? undefined : resolveOwner(job.usersRoot, plan.chown),
    unpack: (source) =>
      unpackArchive(source, job.workDir, calls, { ...paused, ...(archiveLimits && { limits: archiveLimits }) }),
    ...paused,
  });
}

export function runLayerJob(job: LayerJob, { calls, pause }: JobContext): Promise<WrittenLayer> {
  return writeLayer(job.upperDir, job.target, { ...job.options, calls, ...(pause ? { pause } : {}) });
}

export function packPlan(plan: CopyPlan): PackedPlan {
  // A buffer of its own, which can be handed over as a whole.
  return { packed: new Uint8Array(serialize(plan)) };
}

function unpackPlan({ packed }: PackedPlan): CopyPlan {
  return deserialize(packed) as CopyPlan;
}
