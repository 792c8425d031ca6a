// What the instructions of a stage have made of it so far. Plain data: evaluate() gives a new one.
import type { Platform, RunConfig } from '../../oci/manifest.ts';
import type { Instruction, Position, Warning } from '../dockerfile/ast.ts';
import type { Operation } from '../operations.ts';
import type { StageNeeds, StagePlan } from '../stages/stage-plan.ts';

export interface StageState {
  readonly plan: StagePlan;
  /** Of the stage. */
  readonly index: number;
  readonly platform: Platform;
  /** As the image will have it. */
  readonly config: RunConfig;
  /** Of MAINTAINER. */
  readonly author?: string;
  /** ARGs that are declared, in order; undefined = without a value. */
  readonly args: ReadonlyMap<string, string | undefined>;
  /** ONBUILD instructions of the base: to be evaluated before those of the stage. */
  readonly triggers: readonly Instruction[];
  /** What the triggers need beside the plan's needs of the stage; may name stages that the plan would skip. */
  readonly triggerNeeds: StageNeeds;
  /** Where the stage itself has set what only its last instruction decides. */
  readonly set: { readonly [kind in 'CMD' | 'ENTRYPOINT' | 'HEALTHCHECK']?: Position };
  /** A WORKDIR of this Dockerfile holds, not the base image's. */
  readonly hasWorkdir: boolean;
}

export interface Evaluated {
  readonly state: StageState;
  /** For the log: the instruction as written, its keyword in upper case. */
  readonly text: string;
  /** Line of the image's history; absent: the instruction has none (ONBUILD). */
  readonly createdBy?: string;
  /** What is to be done to the file system; absent: the layer is empty. */
  readonly operation?: Operation;
  readonly warnings: readonly Warning[];
}
