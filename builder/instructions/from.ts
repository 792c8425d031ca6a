import type { FromInstruction } from '../dockerfile/ast.ts';
import { readFlags } from '../dockerfile/flags.ts';
import { commonFields, type InstructionSource } from '../dockerfile/instruction-source.ts';
import { quote } from '../dockerfile/syntax-error.ts';
import { splitBlanks } from '../dockerfile/words.ts';

const NAME = /^[a-z][a-z0-9_.-]*$/;
const RESERVED = ['context', 'scratch'];

export function parseFrom(source: InstructionSource): FromInstruction {
  const platform = readFlags(source, { platform: 'text' }).text('platform');
  const [base, as, name, extra] = splitBlanks(source.rest);
  if (base === undefined) throw source.error('FROM needs an image, a stage or scratch');
  if (as !== undefined && as.text.toLowerCase() !== 'as') {
    throw source.error(`expected AS after ${quote(base.text)}, not ${quote(as.text)}`, as.offset);
  }
  if (as !== undefined && name === undefined) throw source.error('AS needs a name', as.offset);
  if (extra !== undefined)
    throw source.error(`nothing may follow the name, but there is ${quote(extra.text)}`, extra.offset);
  const common = {
    kind: 'FROM',
    ...commonFields(source),
    base: base.text,
    ...(platform === undefined ? {} : { platform }),
  } as const;
  if (as === undefined || name === undefined) return common;
  const lower = name.text.toLowerCase();
  if (!NAME.test(lower)) {
    throw source.error(
      `stage name ${quote(name.text)} must begin with a letter, and have letters, digits, "-", "_" and "." only`,
      name.offset,
    );
  }
  if (lower !== name.text) source.warn('StageNameCasing', `stage name ${name.text} should be in lower case`);
  if (RESERVED.includes(lower))
    source.warn('ReservedStageName', `${lower} has a meaning of its own: name the stage otherwise`);
  warnOfCasing(source, as.text);
  return { ...common, name: lower };
}

function warnOfCasing(source: InstructionSource, as: string): void {
  const { keyword } = source;
  const isLower = keyword === keyword.toLowerCase();
  // A keyword of mixed case is told of as such.
  if (!isLower && keyword !== keyword.toUpperCase()) return;
  if (as !== (isLower ? as.toLowerCase() : as.toUpperCase())) {
    source.warn('FromAsCasing', `${keyword} and ${as} should be in the same case`);
  }
}
