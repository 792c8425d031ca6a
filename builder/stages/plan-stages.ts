import { WindlassError } from '../../lib/errors.ts';
import type { Platform } from '../../oci/manifest.ts';
import type { Dockerfile, Warning } from '../dockerfile/ast.ts';
import type { StageState } from '../instructions/stage-state.ts';
import type { StagePlan } from './stage-plan.ts';

export interface PlanOptions {
  /** Name or number of a stage; the last one by default. */
  readonly target?: string | undefined;
  readonly args: ReadonlyMap<string, string>;
  readonly buildPlatform: Platform;
  readonly targetPlatform: Platform;
}

/** Decides which stages are built, on what, and in which order. */
export function planStages(dockerfile: Dockerfile, _options: PlanOptions): StagePlan {
  throw new WindlassError('Unimplemented', `planner not written yet: ${dockerfile.file}`);
}

/** Warnings about arguments that nothing of what was built has taken; `states` are the last ones of all stages built. */
export function unusedArgs(plan: StagePlan, _states: readonly StageState[]): Warning[] {
  throw new WindlassError('Unimplemented', `planner not written yet: ${plan.dockerfile.file}`);
}
