import type { EnvInstruction } from '../dockerfile/ast.ts';
import { refuseFlags } from '../dockerfile/flags.ts';
import { commonFields, type InstructionSource } from '../dockerfile/instruction-source.ts';
import { quote } from '../dockerfile/syntax-error.ts';
import { expandPairs, formatPairs, parsePairs } from './key-values.ts';
import { type Change, type Scope, splitEnv } from './scope.ts';
import { warnOfSecret } from './secret-names.ts';

/** What the kernel lets a program start with is not much more. */
const MAX_ENVIRONMENT = 2 * 1024 * 1024;
const MAX_VARIABLES = 1000;

export function parseEnv(source: InstructionSource): EnvInstruction {
  refuseFlags(source);
  return { kind: 'ENV', ...commonFields(source), ...parsePairs(source) };
}

/** A variable keeps its place in the list when it is set again. */
export function evaluateEnv(instruction: EnvInstruction, scope: Scope): Change {
  const { state } = scope;
  const pairs = expandPairs(instruction.pairs, scope);
  const env = new Map((state.config.Env ?? []).map((entry) => [splitEnv(entry)[0], entry]));
  for (const { key, value } of pairs) {
    if (key.includes('=')) throw scope.error(`the name of a variable cannot have a =: ${quote(key)}`);
    warnOfSecret('ENV', key, scope);
    env.set(key, `${key}=${value}`);
  }
  if (env.size > MAX_VARIABLES) throw scope.error(`the image has more than ${MAX_VARIABLES} variables`);
  const Env = [...env.values()];
  const size = Env.reduce((sum, entry) => sum + entry.length + 1, 0);
  if (size > MAX_ENVIRONMENT)
    throw scope.error(`the environment has ${size} characters, the limit is ${MAX_ENVIRONMENT}`);
  return { state: { ...state, config: { ...state.config, Env } }, createdBy: `ENV${formatPairs(pairs)}` };
}
