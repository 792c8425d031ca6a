// The stages that there are, for whoever named one that there is not.
import { isAbort, WindlassError } from '../../lib/errors.ts';
import type { Stage } from '../dockerfile/ast.ts';

const MAX_LISTED = 20;
/** What a bare word is as a reference in normal form. */
const BARE = /^docker\.io\/library\/([^/:@]+):latest$/;

type Stages = readonly Pick<Stage, 'index' | 'from'>[];

/** `the file has build (0), 1, test (2)`. */
export function listStages(stages: Stages): string {
  if (stages.every(({ from }) => from.name === undefined)) {
    const numbers = stages.length === 1 ? 'stage 0' : `stages 0 to ${stages.length - 1}`;
    return `the file has no named stage, only ${numbers}`;
  }
  const shown = stages
    .slice(0, MAX_LISTED)
    .map(({ index, from }) => (from.name === undefined ? String(index) : `${from.name} (${index})`));
  return `the file has ${shown.join(', ')}${stages.length > shown.length ? ', ...' : ''}`;
}

/** The failure to get an image of a `--from`: what could be the name of a stage may have been meant as one. Pure. */
export function orNoStage(error: unknown, reference: string, stages: Stages): unknown {
  const name = BARE.exec(reference)?.[1];
  if (name === undefined || isAbort(error) || !(error instanceof WindlassError)) return error;
  const message = `${error.message}; nor is there a stage ${JSON.stringify(name)}: ${listStages(stages)}`;
  return new WindlassError(error.reason, message, { details: error.details, cause: error });
}
