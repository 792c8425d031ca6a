// A limit on nesting: everything behind the decoders walks objects by calling itself.
import { badRequest } from './api-errors.ts';

/** The most levels of lists and objects inside each other; real objects have a few dozen. */
const MAX_LEVELS = 1_000;

/** Throws BadRequest for a value with more levels than any real object has. Looks level by level, so it needs no stack. */
export function refuseDeepNesting(value: unknown): void {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > MAX_LEVELS) throw tooDeep();
    level = level.flatMap((each) =>
      isNested(each) ? (Array.isArray(each) ? each : Object.values(each)).filter(isNested) : [],
    );
  }
}

const isNested = (value: unknown): value is object => typeof value === 'object' && value !== null;

/** The refusal, also for decoders that ran out of stack. */
export const tooDeep = (): Error => badRequest(`the body is nested too deeply: at most ${MAX_LEVELS} levels`);
