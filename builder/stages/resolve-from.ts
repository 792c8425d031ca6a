// What `--from=` and FROM name: an earlier stage, or an image.
import { WindlassError } from '../../lib/errors.ts';
import { normalizeReference } from '../../oci/reference.ts';
import type { Dockerfile } from '../dockerfile/ast.ts';
import { Problem } from '../dockerfile/problem.ts';
import { quote } from '../dockerfile/syntax-error.ts';
import type { FileSource } from '../operations.ts';
import { listStages } from './stage-list.ts';

/** The stages of a Dockerfile, as far as names go. */
export interface StageNames {
  readonly dockerfile: Pick<Dockerfile, 'stages'>;
  readonly byName: ReadonlyMap<string, number>;
}

/**
 * Where files come from for an instruction of stage `index`: a stage by name (in any case) or number, `scratch`, else
 * an image. Throws Problem for the stage itself, a later one, a number that no stage has, variables and what cannot
 * be a reference.
 */
export function resolveFrom(from: string, index: number, names: StageNames): FileSource | 'scratch' {
  if (from === '') throw new Problem('from must not be empty');
  if (from.includes('$')) {
    throw new Problem(
      `from takes no variables, ${quote(from)} does: give the image a stage of its own (FROM ${from} AS ...)`,
    );
  }
  const named = /^[0-9]{1,6}$/.test(from) ? Number(from) : names.byName.get(from.toLowerCase());
  if (named === undefined) return from === 'scratch' ? from : { kind: 'image', reference: toReference(from) };
  const { stages } = names.dockerfile;
  if (named >= stages.length) {
    throw new Problem(`there is no stage ${named}: ${listStages(stages)}`);
  }
  if (named === index) throw new Problem(`stage ${from} cannot take files from itself`);
  if (named > index)
    throw new Problem(`stage ${from} comes later in the file: files are taken from earlier stages only`);
  return { kind: 'stage', index: named };
}

/** The normal form of a reference. Throws Problem for what is none. */
export function toReference(text: string): string {
  try {
    return normalizeReference(text);
  } catch (error) {
    if (error instanceof WindlassError && error.reason === 'Invalid')
      throw new Problem(error.message, { cause: error });
    throw error;
  }
}
