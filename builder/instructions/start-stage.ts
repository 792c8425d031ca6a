import { WindlassError } from '../../lib/errors.ts';
import type { ImageConfig } from '../../oci/manifest.ts';
import type { PlannedStage, StagePlan } from '../stages/stage-plan.ts';
import type { StageState } from './stage-state.ts';

export interface StartOptions {
  readonly plan: StagePlan;
  /** The last state of the stage that this one is based on, where it is based on a stage. */
  readonly parent?: StageState | undefined;
}

/** The state of a stage before its first instruction; `base` is absent for scratch and for a stage. */
export function startStage(stage: PlannedStage, _base: ImageConfig | undefined, _options: StartOptions): StageState {
  throw new WindlassError('Unimplemented', `evaluation not written yet: ${stage.name}`);
}
