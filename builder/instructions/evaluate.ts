import { WindlassError } from '../../lib/errors.ts';
import type { Instruction } from '../dockerfile/ast.ts';
import type { Evaluated, StageState } from './stage-state.ts';

/** What one instruction makes of a stage. Pure. */
export function evaluate(_state: StageState, instruction: Instruction): Evaluated {
  throw new WindlassError('Unimplemented', `evaluation not written yet: ${instruction.kind}`);
}
