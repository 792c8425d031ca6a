// What is built of a Dockerfile and in which order: the outcome of planStages().
import type { Platform } from '../../oci/manifest.ts';
import type { Dockerfile, Stage, Warning } from '../dockerfile/ast.ts';

export type StageBase =
  | { readonly kind: 'scratch' }
  /** An earlier stage by its index. */
  | { readonly kind: 'stage'; readonly index: number }
  /** An image by reference in normal form. */
  | { readonly kind: 'image'; readonly reference: string };

/** What has to be there before the instructions of a stage can run; its base is not in it. */
export interface StageNeeds {
  /** Indexes, ascending. */
  readonly stages: readonly number[];
  /** References in normal form. */
  readonly images: readonly string[];
  /** Something is read from the build context. */
  readonly context: boolean;
}

export interface PlannedStage {
  readonly index: number;
  /** Its name, or `stage-<index>`. */
  readonly name: string;
  readonly stage: Stage;
  readonly base: StageBase;
  /** What the base is asked for, and what the stage builds for. */
  readonly platform: Platform;
  readonly needs: StageNeeds;
}

export interface StagePlan {
  readonly dockerfile: Dockerfile;
  /** All stages in the order of the file. */
  readonly stages: readonly PlannedStage[];
  /** Index of each stage that has a name. */
  readonly byName: ReadonlyMap<string, number>;
  /** Index of the stage whose image is wanted. */
  readonly target: number;
  /** Indexes of the stages to build, ascending: what a stage needs is always before it. */
  readonly needed: readonly number[];
  /** Predefined and global ARGs: what FROM lines see, and what an `ARG NAME` of a stage takes its value from. */
  readonly globals: ReadonlyMap<string, string>;
  /** As the build was asked with. */
  readonly args: ReadonlyMap<string, string>;
  /** NAME=value of the proxy settings among the arguments: RUN has them without any ARG. */
  readonly proxyEnv: readonly string[];
  readonly warnings: readonly Warning[];
}
