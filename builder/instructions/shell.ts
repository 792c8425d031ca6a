import type { ShellInstruction } from '../dockerfile/ast.ts';
import { refuseFlags } from '../dockerfile/flags.ts';
import { commonFields, type InstructionSource, jsonStrings } from '../dockerfile/instruction-source.ts';
import { formatList } from './history-text.ts';
import type { Change, Scope } from './scope.ts';

export function parseShell(source: InstructionSource): ShellInstruction {
  refuseFlags(source);
  const shell = jsonStrings(source) ?? [];
  if (shell.length === 0) throw source.error('SHELL takes the JSON form only: SHELL ["/bin/bash", "-c"]');
  return { kind: 'SHELL', ...commonFields(source), shell };
}

export function evaluateShell({ shell }: ShellInstruction, { state }: Scope): Change {
  const config = { ...state.config, Shell: [...shell] };
  return { state: { ...state, config }, createdBy: `SHELL ${formatList(shell)}` };
}
