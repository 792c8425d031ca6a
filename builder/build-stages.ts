// The stages of one build: each begins when what it needs is there, so that those that need nothing of each other are
// built at the same time.
import { WindlassError } from '../lib/errors.ts';
import type { Platform } from '../oci/manifest.ts';
import { platformName, platformScore } from '../oci/platform.ts';
import type { LoadedImage } from '../runtime-shim/images/image-index.ts';
import type { BuildEvent } from '../runtime-shim/images/image-builder.ts';
import type { BaseImages } from './base-images.ts';
import type { BuildLog, StepLog } from './build-log.ts';
import type { Instruction, Warning } from './dockerfile/ast.ts';
import { rfc3339, type HistoryEntry } from './image/write-image.ts';
import { atInstruction } from './instruction-error.ts';
import { evaluate } from './instructions/evaluate.ts';
import type { Evaluated, StageState } from './instructions/stage-state.ts';
import { startStage } from './instructions/start-stage.ts';
import type { Performed, Step } from './perform-step.ts';
import { createSnapshot, MAX_SECONDS, SCRATCH, type Snapshot } from './snapshot.ts';
import type { PlannedStage, StagePlan } from './stages/stage-plan.ts';

/** What a stage is at its end. */
export interface BuiltStage {
  readonly state: StageState;
  readonly snapshot: Snapshot;
  readonly history: readonly HistoryEntry[];
}

export interface StagesBuild {
  readonly plan: StagePlan;
  readonly nodePlatform: Platform;
  readonly perform: (step: Step) => Promise<Performed>;
  readonly epochSeconds: number | undefined;
  readonly signal: AbortSignal;
  readonly bases: BaseImages;
  readonly log: BuildLog;
  readonly onEvent: (event: BuildEvent) => Promise<void> | void;
  readonly warn: (warnings: readonly Warning[]) => void;
}

export interface StageResults {
  /** The stage at its end, building it if nobody has asked for it yet. */
  get(index: number): Promise<BuiltStage>;
  /** Those that were asked for. */
  readonly started: ReadonlyMap<number, Promise<BuiltStage>>;
  readonly counts: { readonly steps: number; readonly cachedSteps: number; readonly performedSteps: number };
  /** Keys of the steps that have a layer, as they were done. */
  readonly keys: readonly string[];
}

/** Builds stages of a plan as they are asked for. */
export function createStageResults(input: StagesBuild): StageResults {
  const started = new Map<number, Promise<BuiltStage>>();
  const counts = { steps: 0, cachedSteps: 0, performedSteps: 0 };
  const keys: string[] = [];
  const { plan } = input;
  let total = plan.needed.reduce((sum, index) => sum + 1 + (plan.stages[index]?.stage.instructions.length ?? 0), 0);
  const get = (index: number): Promise<BuiltStage> => {
    const known = started.get(index);
    if (known) return known;
    const stage = plan.stages[index];
    if (!stage) throw new WindlassError('Internal', `there is no stage ${index}`);
    const result = buildStage(stage);
    // Others fail with it; whoever asked for it tells why.
    result.catch(() => undefined);
    started.set(index, result);
    return result;
  };

  async function buildStage(stage: PlannedStage): Promise<BuiltStage> {
    const { file } = plan.dockerfile;
    const { from, instructions } = stage.stage;
    const prefix = plan.needed.length > 1 ? `${stage.name} ` : '';
    let number = 0;
    let count = 1 + instructions.length;
    const begin = (text: string): StepLog => {
      number += 1;
      counts.steps += 1;
      void input.onEvent({ kind: 'step', step: counts.steps, steps: Math.max(total, counts.steps), instruction: text });
      return input.log.begin(`[${prefix}${number}/${count}] ${text}`);
    };
    const told = async <T>(
      instruction: Pick<Instruction, 'position' | 'text'>,
      log: StepLog,
      work: () => Promise<T>,
    ) => {
      try {
        return await work();
      } catch (error) {
        log.failed(error instanceof Error ? error.message : String(error));
        throw atInstruction(error, file, instruction);
      }
    };

    const fromLog = begin(from.text);
    const base = await told(from, fromLog, () => startOn(stage, fromLog));
    fromLog.done();
    let { state, snapshot } = base;
    const history = [...base.history];
    const all = [...state.triggers, ...instructions];
    count = 1 + all.length;
    total += state.triggers.length;
    await awaitNeeds(state.triggerNeeds.stages);
    for (const instruction of all) {
      input.signal.throwIfAborted();
      const evaluated = evaluateAt(file, state, instruction);
      input.warn(evaluated.warnings);
      const log = begin(evaluated.text);
      const done = await told(instruction, log, () => perform(evaluated, snapshot, log));
      if (done?.isCached) {
        counts.cachedSteps += 1;
        log.cached();
      } else log.done();
      if (done) {
        keys.push(done.key);
        if (!done.isCached) counts.performedSteps += 1;
      }
      snapshot = done?.snapshot ?? snapshot;
      ({ state } = evaluated);
      if (evaluated.createdBy !== undefined) {
        history.push({
          created: rfc3339(input.epochSeconds ?? snapshot.newestSeconds),
          created_by: evaluated.createdBy,
          ...(done?.hasLayer ? {} : { empty_layer: true }),
        });
      }
    }
    return { state, snapshot, history };
  }

  async function perform({ operation, createdBy = '' }: Evaluated, snapshot: Snapshot, { output }: StepLog) {
    if (!operation) return undefined;
    return input.perform({ snapshot, operation, createdBy, onOutput: output });
  }

  async function awaitNeeds(stages: readonly number[]): Promise<void> {
    await Promise.all(stages.map(get));
  }

  async function startOn(stage: PlannedStage, log: StepLog): Promise<BuiltStage> {
    const { needs, platform } = stage;
    const { nodePlatform } = input;
    if (platformScore(platform, nodePlatform) === 0) {
      const [wanted, own] = [platformName(platform), platformName(nodePlatform)];
      throw new WindlassError('Unimplemented', `building for ${wanted} is not supported on a node of ${own}`);
    }
    const [started] = await Promise.all([startBase(stage, log), awaitNeeds(needs.stages)]);
    return started;
  }

  async function startBase(stage: PlannedStage, log: StepLog): Promise<BuiltStage> {
    const { base } = stage;
    if (base.kind === 'scratch') {
      return { state: startStage(stage, undefined, { plan }), snapshot: SCRATCH, history: [] };
    }
    if (base.kind === 'stage') {
      const parent = await get(base.index);
      return { ...parent, state: startStage(stage, undefined, { plan, parent: parent.state }) };
    }
    const image = await input.bases.get(base.reference, stage.platform);
    void log.output(`${base.reference}@${image.descriptor.digest}\n`);
    return {
      state: startStage(stage, image.config, { plan }),
      snapshot: snapshotOf(image),
      history: image.config.history ?? [],
    };
  }
  return { get, started, counts, keys };
}

function evaluateAt(file: string, state: StageState, instruction: Instruction): Evaluated {
  try {
    return evaluate(state, instruction);
  } catch (error) {
    throw atInstruction(error, file, instruction);
  }
}

/** The files of an image. */
export function snapshotOf({ manifest, config }: LoadedImage): Snapshot {
  const created = Math.floor(Date.parse(config.created ?? '') / 1000);
  return createSnapshot({
    layers: manifest.layers,
    diffIds: config.rootfs.diff_ids,
    newestSeconds: Number.isFinite(created) ? Math.min(Math.max(created, 0), MAX_SECONDS) : 0,
  });
}
