import { closestWord } from '../../lib/closest-word.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { Platform } from '../../oci/manifest.ts';
import type { Dockerfile, Instruction, Stage, Warning } from '../dockerfile/ast.ts';
import { addWarning } from '../dockerfile/checks.ts';
import type { StageState } from '../instructions/stage-state.ts';
import { globalArgs, isPredefined, predefinedArgs, proxyEnv } from './global-args.ts';
import { resolveBase } from './resolve-base.ts';
import type { PlannedStage, StagePlan } from './stage-plan.ts';
import { listStages } from './stage-list.ts';
import { needsOf } from './stage-needs.ts';

export interface PlanOptions {
  /** Name or number of a stage; the last one by default. */
  readonly target?: string | undefined;
  readonly args: ReadonlyMap<string, string>;
  readonly buildPlatform: Platform;
  readonly targetPlatform: Platform;
}

/**
 * Decides which stages of a Dockerfile are built, on what, and in which order. Throws Invalid where a stage takes from
 * itself, from a later one or from what cannot be, also in stages that are not needed, for a target that is not there,
 * and for arguments that no program could have in its environment.
 */
export function planStages(dockerfile: Dockerfile, options: PlanOptions): StagePlan {
  const { args, targetPlatform } = options;
  checkArgs(args);
  const warnings: Warning[] = [];
  const target = findTarget(dockerfile, options.target);
  const predefined = predefinedArgs({ ...options, target: options.target ?? dockerfile.stages[target]?.from.name });
  const globals = globalArgs(dockerfile, predefined, args);
  const defaults = globalArgs(dockerfile, predefined, new Map());
  const byName = new Map<string, number>();
  const stages: PlannedStage[] = [];
  const names = { dockerfile, byName: namesOf(dockerfile) };
  for (const stage of dockerfile.stages) {
    const { base, platform } = resolveBase(stage, {
      dockerfile,
      globals,
      defaults,
      earlier: { stages, byName },
      targetPlatform,
      warn: (rule, message) => addWarning(warnings, dockerfile, stage.from, { rule, message }),
    });
    const { index, from } = stage;
    const instructions = [...triggersOf(base.kind === 'stage' ? stages[base.index] : undefined), ...stage.instructions];
    const needs = needsOf(instructions, index, { file: dockerfile.file, names });
    stages.push({ index, name: from.name ?? `stage-${index}`, stage, base, platform, needs });
    if (from.name !== undefined) byName.set(from.name, index);
  }
  return {
    dockerfile,
    stages,
    byName,
    target,
    needed: neededFor(target, stages),
    globals,
    args,
    proxyEnv: proxyEnv(args),
    warnings,
  };
}

/**
 * The stages that `target` needs, itself too, ascending. `more` are needs that the plan does not know of: those of the
 * triggers of base images.
 */
export function neededFor(
  target: number,
  stages: readonly PlannedStage[],
  more: ReadonlyMap<number, readonly number[]> = new Map(),
): number[] {
  const needed = new Set<number>();
  const waiting = [target];
  for (let index = waiting.pop(); index !== undefined; index = waiting.pop()) {
    const planned = stages[index];
    if (planned === undefined || needed.has(index)) continue;
    needed.add(index);
    waiting.push(...planned.needs.stages, ...(more.get(index) ?? []));
    if (planned.base.kind === 'stage') waiting.push(planned.base.index);
  }
  return [...needed].toSorted((a, b) => a - b);
}

/** Warnings about arguments that nothing of what was built has taken; `states` are the last ones of all stages built. */
export function unusedArgs(plan: StagePlan, states: readonly StageState[]): Warning[] {
  const warnings: Warning[] = [];
  const { dockerfile, args, globals } = plan;
  const declared = new Set(
    dockerfile.globalArgs.flatMap(({ args: declarations }) => declarations.map(({ name }) => name)),
  );
  for (const state of states) for (const name of state.args.keys()) declared.add(name);
  for (const name of args.keys()) {
    if (declared.has(name) || globals.has(name) || isPredefined(name)) continue;
    const meant = closestWord(name, declared);
    const message = `argument ${name} is used nowhere: no ARG declares it${meant === undefined ? '' : `, did you mean ${meant}?`}`;
    addWarning(
      warnings,
      dockerfile,
      { position: { line: 1, column: 1 }, skips: [] },
      { rule: 'UnusedBuildArg', message },
    );
  }
  return warnings;
}

function checkArgs(args: ReadonlyMap<string, string>): void {
  for (const [name, value] of args) {
    const problem = /^[^=\0]+$/.test(name)
      ? value.includes('\0')
        ? 'its value has a NUL character'
        : undefined
      : 'bad name';
    if (problem !== undefined) throw new WindlassError('Invalid', `build argument ${JSON.stringify(name)}: ${problem}`);
  }
}

function findTarget({ file, stages }: Dockerfile, target: string | undefined): number {
  if (target === undefined || target === '') return stages.length - 1;
  const byName = stages.findIndex(({ from }) => from.name === target.toLowerCase());
  if (byName !== -1) return byName;
  if (/^[0-9]{1,6}$/.test(target) && Number(target) < stages.length) return Number(target);
  const meant = closestWord(
    target,
    stages.flatMap(({ from }) => from.name ?? []),
  );
  throw new WindlassError(
    'Invalid',
    `${file}: there is no stage ${JSON.stringify(target)}${meant === undefined ? '' : `: did you mean ${meant}?`}; ` +
      listStages(stages),
  );
}

function namesOf({ stages }: Dockerfile): Map<string, number> {
  return new Map(stages.flatMap(({ from, index }) => (from.name === undefined ? [] : [[from.name, index] as const])));
}

function triggersOf(parent: { readonly stage: Stage } | undefined): Instruction[] {
  return (
    parent?.stage.instructions.flatMap((instruction) =>
      instruction.kind === 'ONBUILD' ? [instruction.trigger] : [],
    ) ?? []
  );
}
