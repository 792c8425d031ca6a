import type { EntrypointInstruction } from '../dockerfile/ast.ts';
import { refuseFlags } from '../dockerfile/flags.ts';
import { commonFields, type InstructionSource } from '../dockerfile/instruction-source.ts';
import { commandArgs, parseCommand, warnOfShell } from './command-form.ts';
import { formatQuoted } from './history-text.ts';
import type { Change, Scope } from './scope.ts';
import { setOnce } from './set-once.ts';

export function parseEntrypoint(source: InstructionSource): EntrypointInstruction {
  refuseFlags(source);
  return { kind: 'ENTRYPOINT', ...commonFields(source), command: parseCommand(source) };
}

/** Takes back the base's CMD, which was written for another entrypoint; one of the stage itself stays. */
export function evaluateEntrypoint(instruction: EntrypointInstruction, scope: Scope): Change {
  const { state } = scope;
  warnOfShell('ENTRYPOINT', instruction.command, scope);
  const args = commandArgs(instruction.command, state);
  const { Entrypoint: _earlier, Cmd, ...rest } = state.config;
  const config = {
    ...rest,
    ...(args.length === 0 ? {} : { Entrypoint: args }),
    ...(state.set.CMD === undefined || Cmd === undefined ? {} : { Cmd }),
  };
  const set = setOnce(instruction, scope);
  return { state: { ...state, set, config }, createdBy: `ENTRYPOINT ${formatQuoted(args)}` };
}
