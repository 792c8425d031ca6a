// Runs a Dockerfile through parser, planner and evaluation, as a builder does, with images made up by the test.
import type { Instruction } from '../../../builder/dockerfile/ast.ts';
import { parseDockerfile } from '../../../builder/dockerfile/parse.ts';
import { evaluate } from '../../../builder/instructions/evaluate.ts';
import type { Evaluated, StageState } from '../../../builder/instructions/stage-state.ts';
import { startStage } from '../../../builder/instructions/start-stage.ts';
import type { CopyOperation, RunOperation } from '../../../builder/operations.ts';
import { type PlanOptions, planStages } from '../../../builder/stages/plan-stages.ts';
import type { StagePlan } from '../../../builder/stages/stage-plan.ts';
import type { ImageConfig, RunConfig } from '../../../oci/manifest.ts';

export const amd64 = { os: 'linux', architecture: 'amd64' };

export const parse = (text: string) => parseDockerfile(Buffer.from(text), 'Dockerfile');

export interface Asked {
  readonly args?: Readonly<Record<string, string>>;
  readonly target?: string;
  readonly targetPlatform?: PlanOptions['targetPlatform'];
  /** Configuration of every base image. */
  readonly base?: RunConfig;
}

export function plan(text: string, { args = {}, target, targetPlatform = amd64 }: Asked = {}): StagePlan {
  return planStages(parse(text), {
    args: new Map(Object.entries(args)),
    target,
    buildPlatform: amd64,
    targetPlatform,
  });
}

export function makeImage(config: RunConfig): ImageConfig {
  return { ...amd64, config, rootfs: { type: 'layers', diff_ids: [] } };
}

export interface Built {
  readonly plan: StagePlan;
  /** Last states of the stages that were built. */
  readonly states: readonly StageState[];
  /** Of the target. */
  readonly state: StageState;
  readonly steps: readonly Evaluated[];
}

export function build(text: string, asked: Asked = {}): Built {
  const planned = plan(text, asked);
  const states = new Map<number, StageState>();
  let steps: Evaluated[] = [];
  for (const index of planned.needed) {
    const stage = planned.stages[index]!;
    const parent = stage.base.kind === 'stage' ? states.get(stage.base.index) : undefined;
    const base = stage.base.kind === 'image' ? makeImage(asked.base ?? {}) : undefined;
    let state = startStage(stage, base, { plan: planned, parent });
    steps = [];
    const instructions: Instruction[] = [...state.triggers, ...stage.stage.instructions];
    for (const instruction of instructions) {
      const step = evaluate(state, instruction);
      state = step.state;
      steps.push(step);
    }
    states.set(index, state);
  }
  return { plan: planned, states: [...states.values()], state: states.get(planned.target)!, steps };
}

/** What the last instruction of a stage `FROM image` with these lines does. */
export function lastStep(lines: string, asked: Asked = {}): Evaluated {
  return build(`FROM image\n${lines}`, asked).steps.at(-1)!;
}

export function lastRun(lines: string, asked: Asked = {}): RunOperation {
  return lastStep(lines, asked).operation as RunOperation;
}

export function lastCopy(lines: string, asked: Asked = {}): CopyOperation {
  return lastStep(lines, asked).operation as CopyOperation;
}

/** Rules of all warnings, in order. */
export function rules(text: string, asked: Asked = {}): string[] {
  const { plan: planned, steps } = build(text, asked);
  const warnings = [...planned.dockerfile.warnings, ...planned.warnings, ...steps.flatMap((step) => step.warnings)];
  return warnings.map(({ rule }) => rule);
}

/** The message of the error that building ends with; empty when there is none. */
export function failure(text: string, asked: Asked = {}): string {
  try {
    build(text, asked);
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}
