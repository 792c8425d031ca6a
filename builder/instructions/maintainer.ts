import type { MaintainerInstruction } from '../dockerfile/ast.ts';
import { refuseFlags } from '../dockerfile/flags.ts';
import { commonFields, type InstructionSource, readOne } from '../dockerfile/instruction-source.ts';
import type { Change, Scope } from './scope.ts';

export function parseMaintainer(source: InstructionSource): MaintainerInstruction {
  refuseFlags(source);
  source.warn('MaintainerDeprecated', 'MAINTAINER is deprecated: use LABEL org.opencontainers.image.authors=...');
  return { kind: 'MAINTAINER', ...commonFields(source), name: readOne(source, 'a name') };
}

export function evaluateMaintainer({ name }: MaintainerInstruction, { state }: Scope): Change {
  return { state: { ...state, author: name }, createdBy: `MAINTAINER ${name}` };
}
