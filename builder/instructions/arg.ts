import type { ArgInstruction } from '../dockerfile/ast.ts';
import { refuseFlags } from '../dockerfile/flags.ts';
import { commonFields, type InstructionSource } from '../dockerfile/instruction-source.ts';
import { quote } from '../dockerfile/syntax-error.ts';
import { splitQuoted } from '../dockerfile/words.ts';
import { type Change, type Scope, splitEnv } from './scope.ts';
import { warnOfSecret } from './secret-names.ts';

const MAX_ARGS = 1000;

export function parseArg(source: InstructionSource): ArgInstruction {
  refuseFlags(source);
  const words = splitQuoted(source.rest, source.escape);
  if (words.length === 0) throw source.error('ARG needs a name: ARG NAME or ARG NAME=default');
  const args = words.map(({ text, offset }) => {
    const equals = text.indexOf('=');
    if (equals === 0) throw source.error(`${quote(text)} has no name before its =`, offset);
    return equals === -1 ? { name: text } : { name: text.slice(0, equals), value: text.slice(equals + 1) };
  });
  return { kind: 'ARG', ...commonFields(source), args };
}

/**
 * Declares arguments: the value is what the build was asked with, else the default, else that of the global scope.
 * A default that is not needed is not expanded.
 */
export function evaluateArg(instruction: ArgInstruction, scope: Scope): Change {
  const { plan } = scope.state;
  const args = new Map(scope.state.args);
  const state = { ...scope.state, args };
  // A default may use what the same instruction declares before it.
  const { expand, warn } = scope.with(state);
  const fixed = new Set((state.config.Env ?? []).map((entry) => splitEnv(entry)[0]));
  const shown: string[] = [];
  for (const { name, value: fallback } of instruction.args) {
    warnOfSecret('ARG', name, scope);
    const value = plan.args.get(name) ?? (fallback === undefined ? plan.globals.get(name) : expand(fallback));
    if (value !== undefined && fixed.has(name)) {
      warn('ArgHiddenByEnv', `ARG ${name} has no effect: ENV ${name} is set, and wins`);
    }
    args.set(name, value ?? args.get(name));
    if (args.size > MAX_ARGS) throw scope.error(`the stage has more than ${MAX_ARGS} ARGs`);
    shown.push(value === undefined ? name : `${name}=${value}`);
  }
  return { state, createdBy: `ARG ${shown.join(' ')}` };
}
