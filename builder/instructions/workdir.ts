import { posix } from 'node:path';
import type { WorkdirInstruction } from '../dockerfile/ast.ts';
import { refuseFlags } from '../dockerfile/flags.ts';
import { commonFields, type InstructionSource, readOne } from '../dockerfile/instruction-source.ts';
import { quote } from '../dockerfile/syntax-error.ts';
import type { Change, Scope } from './scope.ts';
import type { StageState } from './stage-state.ts';

export function parseWorkdir(source: InstructionSource): WorkdirInstruction {
  refuseFlags(source);
  return { kind: 'WORKDIR', ...commonFields(source), path: readOne(source, 'a path') };
}

/** A relative path continues the one before. The folder is made, and belongs to the user of the stage. */
export function evaluateWorkdir(instruction: WorkdirInstruction, scope: Scope): Change {
  const { state } = scope;
  const written = scope.expand(instruction.path);
  if (!state.hasWorkdir && !posix.isAbsolute(written)) {
    scope.warn('WorkdirRelativePath', `relative path ${quote(written)} depends on the base image's working directory`);
  }
  const path = posix.resolve(workdirOf(state), written);
  return {
    state: { ...state, hasWorkdir: true, config: { ...state.config, WorkingDir: path } },
    createdBy: `WORKDIR ${path}`,
    ...(path === '/' ? {} : { operation: { kind: 'workdir', path, user: state.config.User ?? '' } }),
  };
}

/** Where relative paths of a stage begin. */
export function workdirOf({ config }: StageState): string {
  return posix.resolve('/', config.WorkingDir ?? '');
}
