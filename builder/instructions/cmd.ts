import type { CmdInstruction } from '../dockerfile/ast.ts';
import { refuseFlags } from '../dockerfile/flags.ts';
import { commonFields, type InstructionSource } from '../dockerfile/instruction-source.ts';
import { commandArgs, parseCommand, warnOfShell } from './command-form.ts';
import { formatQuoted } from './history-text.ts';
import type { Change, Scope } from './scope.ts';
import { setOnce } from './set-once.ts';

export function parseCmd(source: InstructionSource): CmdInstruction {
  refuseFlags(source);
  return { kind: 'CMD', ...commonFields(source), command: parseCommand(source) };
}

export function evaluateCmd(instruction: CmdInstruction, scope: Scope): Change {
  const { state } = scope;
  warnOfShell('CMD', instruction.command, scope);
  const args = commandArgs(instruction.command, state);
  const set = setOnce(instruction, scope);
  return { state: { ...state, set, config: { ...state.config, Cmd: args } }, createdBy: `CMD ${formatQuoted(args)}` };
}
