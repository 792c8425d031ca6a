import type { UserInstruction } from '../dockerfile/ast.ts';
import { refuseFlags } from '../dockerfile/flags.ts';
import { commonFields, type InstructionSource, readOne } from '../dockerfile/instruction-source.ts';
import { quote } from '../dockerfile/syntax-error.ts';
import type { Change, Scope } from './scope.ts';

export function parseUser(source: InstructionSource): UserInstruction {
  refuseFlags(source);
  return { kind: 'USER', ...commonFields(source), user: readOne(source, 'a user') };
}

export function evaluateUser(instruction: UserInstruction, scope: Scope): Change {
  const { state } = scope;
  const user = scope.expand(instruction.user);
  if (/[\s\p{C}]/u.test(user)) throw scope.error(`USER takes USER or USER:GROUP, not ${quote(user)}`);
  return { state: { ...state, config: { ...state.config, User: user } }, createdBy: `USER ${user}` };
}
