import type { CopyInstruction } from '../dockerfile/ast.ts';
import { readFlags } from '../dockerfile/flags.ts';
import { commonFields, type InstructionSource } from '../dockerfile/instruction-source.ts';
import { withPlace } from '../dockerfile/problem.ts';
import { shown } from '../dockerfile/syntax-error.ts';
import type { CopyOperation } from '../operations.ts';
import { resolveFrom } from '../stages/resolve-from.ts';
import { describeFiles, evaluateFiles, FILE_FLAGS, parseFiles } from './files.ts';
import type { Change, Scope } from './scope.ts';

export function parseCopy(source: InstructionSource): CopyInstruction {
  const flags = readFlags(source, { ...FILE_FLAGS, from: 'text', parents: 'boolean' });
  const from = flags.text('from');
  return {
    kind: 'COPY',
    ...commonFields(source),
    ...parseFiles(source, flags),
    ...(from === undefined ? {} : { from }),
    parents: flags.boolean('parents') ?? false,
  };
}

export function evaluateCopy(instruction: CopyInstruction, scope: Scope): Change {
  const { state } = scope;
  const { written, operation: files } = evaluateFiles(instruction, sourceOf(instruction, scope), scope);
  const operation: CopyOperation = {
    ...files,
    parents: instruction.parents,
    keepGitDir: false,
  };
  return { state, operation, createdBy: describeFiles(operation, written) };
}

function sourceOf({ from }: CopyInstruction, scope: Scope): CopyOperation['from'] {
  if (from === undefined) return { kind: 'context' };
  const { index, plan } = scope.state;
  const resolved = withPlace(
    (problem, cause) => scope.error(`--from=${shown(from)}: ${problem}`, cause),
    () => resolveFrom(from, index, plan),
  );
  if (resolved === 'scratch') throw scope.error('--from=scratch: scratch has no files');
  return resolved;
}
