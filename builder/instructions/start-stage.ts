import { posix } from 'node:path';
import type { ImageConfig, RunConfig } from '../../oci/manifest.ts';
import { parseTrigger } from '../dockerfile/parse.ts';
import { needsOf } from '../stages/stage-needs.ts';
import type { PlannedStage, StagePlan } from '../stages/stage-plan.ts';
import { splitEnv } from './scope.ts';
import type { StageState } from './stage-state.ts';

export interface StartOptions {
  readonly plan: StagePlan;
  /** The last state of the stage that this one is based on, where it is based on a stage. */
  readonly parent?: StageState | undefined;
}

const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * The state of a stage before its first instruction: the configuration of its base, an image (`base`), a stage
 * (`options.parent`) or scratch (neither). Its ONBUILD instructions are `triggers` of the state: they come before those
 * of the stage. A stage has its base's ARGs where that is a stage. Throws Invalid for a trigger that is none.
 */
export function startStage(
  stage: PlannedStage,
  base: ImageConfig | undefined,
  { plan, parent }: StartOptions,
): StageState {
  const inherited = parent?.config ?? base?.config ?? { WorkingDir: '/' };
  const { OnBuild: onbuild = [], ...config } = inherited;
  const { file, escape } = plan.dockerfile;
  const { from } = stage.stage;
  // An image says nothing of the escape it was written with.
  const triggerEscape = parent === undefined ? '\\' : escape;
  const triggers = onbuild.map((text) => parseTrigger(text, { file, escape: triggerEscape, from }));
  const author = parent === undefined ? base?.author : parent.author;
  return {
    plan,
    index: stage.index,
    platform: stage.platform,
    config: withPath(withWorkdir(config)),
    ...(author === undefined ? {} : { author }),
    args: new Map(parent?.args),
    triggers,
    triggerNeeds: needsOf(triggers, stage.index, { file, names: plan }),
    set: {},
    hasWorkdir: parent?.hasWorkdir ?? false,
  };
}

function withWorkdir(config: RunConfig): RunConfig {
  return config.WorkingDir ? { ...config, WorkingDir: posix.resolve('/', config.WorkingDir) } : config;
}

/** Programs without a path must be found also where an image says nothing of it. */
function withPath(config: RunConfig): RunConfig {
  const Env = config.Env ?? [];
  return Env.some((entry) => splitEnv(entry)[0] === 'PATH') ? config : { ...config, Env: [...Env, DEFAULT_PATH] };
}
