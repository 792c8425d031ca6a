// Instructions of which only the last of a stage counts.
import type { CmdInstruction, EntrypointInstruction, HealthcheckInstruction } from '../dockerfile/ast.ts';
import type { Scope } from './scope.ts';
import type { StageState } from './stage-state.ts';

/** Notes that the instruction was there, and warns when one of its kind was there before. */
export function setOnce(
  { kind, position }: CmdInstruction | EntrypointInstruction | HealthcheckInstruction,
  { state, warn }: Scope,
): StageState['set'] {
  const earlier = state.set[kind];
  if (earlier !== undefined) {
    warn(
      'MultipleInstructionsDisallowed',
      `only the last ${kind} of a stage counts: the one in line ${earlier.line} does not`,
    );
  }
  return { ...state.set, [kind]: position };
}
