import type { LabelInstruction } from '../dockerfile/ast.ts';
import { refuseFlags } from '../dockerfile/flags.ts';
import { commonFields, type InstructionSource } from '../dockerfile/instruction-source.ts';
import { expandPairs, formatPairs, parsePairs } from './key-values.ts';
import type { Change, Scope } from './scope.ts';

const MAX_LABELS = 10_000;

export function parseLabel(source: InstructionSource): LabelInstruction {
  refuseFlags(source);
  return { kind: 'LABEL', ...commonFields(source), ...parsePairs(source) };
}

export function evaluateLabel(instruction: LabelInstruction, scope: Scope): Change {
  const { state } = scope;
  const pairs = expandPairs(instruction.pairs, scope);
  const added = pairs.map(({ key, value }) => [key, value] as const);
  const Labels = Object.fromEntries([...Object.entries(state.config.Labels ?? {}), ...added]);
  if (Object.keys(Labels).length > MAX_LABELS) throw scope.error(`the image has more than ${MAX_LABELS} labels`);
  return { state: { ...state, config: { ...state.config, Labels } }, createdBy: `LABEL${formatPairs(pairs)}` };
}
