import type { AddInstruction } from '../dockerfile/ast.ts';
import { readFlags } from '../dockerfile/flags.ts';
import { commonFields, type InstructionSource } from '../dockerfile/instruction-source.ts';
import type { CopyOperation } from '../operations.ts';
import { checkChecksum, describeFiles, evaluateFiles, FILE_FLAGS, parseFiles } from './files.ts';
import type { Change, Scope } from './scope.ts';

export function parseAdd(source: InstructionSource): AddInstruction {
  const own = { checksum: 'text', 'keep-git-dir': 'boolean', unpack: 'boolean' } as const;
  const flags = readFlags(source, { ...FILE_FLAGS, ...own });
  const checksum = flags.text('checksum');
  const keepGitDir = flags.boolean('keep-git-dir');
  const unpack = flags.boolean('unpack');
  return {
    kind: 'ADD',
    ...commonFields(source),
    ...parseFiles(source, flags),
    ...(checksum === undefined ? {} : { checksum }),
    ...(keepGitDir === undefined ? {} : { keepGitDir }),
    ...(unpack === undefined ? {} : { unpack }),
  };
}

export function evaluateAdd(instruction: AddInstruction, scope: Scope): Change {
  const { state } = scope;
  const { written, operation: files } = evaluateFiles(instruction, { kind: 'context' }, scope);
  const checksum = instruction.checksum === undefined ? '' : scope.expand(instruction.checksum);
  if (checksum !== '') checkChecksum(checksum, files.sources, scope);
  const operation: CopyOperation = {
    ...files,
    parents: false,
    ...(checksum === '' ? {} : { checksum }),
    ...(instruction.unpack === undefined ? {} : { unpack: instruction.unpack }),
    keepGitDir: instruction.keepGitDir ?? false,
  };
  return { state, operation, createdBy: describeFiles(operation, written) };
}
