import type { Instruction, OnbuildInstruction } from '../dockerfile/ast.ts';
import { refuseFlags } from '../dockerfile/flags.ts';
import { commonFields, type InstructionSource } from '../dockerfile/instruction-source.ts';
import type { Change, Scope } from './scope.ts';

/** Instructions that no trigger can be: they are about stages and images as a whole. */
export const NO_TRIGGERS: readonly string[] = ['FROM', 'MAINTAINER', 'ONBUILD'];

/** `trigger` is what `rest` says, parsed. */
export function buildOnbuild(source: InstructionSource, trigger: Instruction): OnbuildInstruction {
  refuseFlags(source);
  const documents = source.heredocs.map(({ name, content }) => `\n${content}${name}`);
  return { kind: 'ONBUILD', ...commonFields(source), trigger, source: [source.rest, ...documents].join('') };
}

export function evaluateOnbuild(instruction: OnbuildInstruction, { state }: Scope): Change {
  const OnBuild = [...(state.config.OnBuild ?? []), instruction.source];
  return { state: { ...state, config: { ...state.config, OnBuild } } };
}
