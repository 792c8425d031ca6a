// What instructions take from elsewhere, told from the instructions alone.
import type { Instruction } from '../dockerfile/ast.ts';
import { Problem, withPlace } from '../dockerfile/problem.ts';
import { dockerfileError, shown } from '../dockerfile/syntax-error.ts';
import { splitMount } from '../instructions/mount-options.ts';
import { sourceKind } from '../instructions/source-path.ts';
import type { FileSource } from '../operations.ts';
import { resolveFrom, type StageNames } from './resolve-from.ts';
import type { StageNeeds } from './stage-plan.ts';

export const NO_NEEDS: StageNeeds = { stages: [], images: [], context: false };

/** What the instructions of stage `index` need. Throws Invalid for a `from` that names nothing it may. */
export function needsOf(
  instructions: readonly Instruction[],
  index: number,
  { file, names }: { readonly file: string; readonly names: StageNames },
): StageNeeds {
  const stages = new Set<number>();
  const images = new Set<string>();
  let context = false;
  for (const instruction of instructions) {
    const place = (problem: string, cause: unknown): Error =>
      dockerfileError(file, instruction.position, problem, { instruction: instruction.text, cause });
    for (const source of withPlace(place, () => sourcesOf(instruction, index, names))) {
      if (source.kind === 'stage') stages.add(source.index);
      else if (source.kind === 'image') images.add(source.reference);
      else context = true;
    }
  }
  return { stages: [...stages].toSorted((a, b) => a - b), images: [...images], context };
}

function sourcesOf(instruction: Instruction, index: number, names: StageNames): FileSource[] {
  switch (instruction.kind) {
    case 'ADD':
      return instruction.sources.some(mayBeLocal) ? [{ kind: 'context' }] : [];
    case 'COPY':
      if (instruction.from !== undefined)
        return without(resolve(`--from=${instruction.from}`, instruction.from, index, names));
      return instruction.sources.length > 0 ? [{ kind: 'context' }] : [];
    case 'RUN':
      return instruction.mounts.flatMap((mount) => mountSources(mount, index, names));
    default:
      return [];
  }
}

function mountSources(value: string, index: number, names: StageNames): FileSource[] {
  const options = splitMount(value);
  const from = options.get('from');
  if (from !== undefined) return without(resolve(`--mount=${value}`, from, index, names));
  // A type that is a variable may turn out to be a bind.
  const type = (options.get('type') ?? 'bind').toLowerCase();
  return type === 'bind' || type.includes('$') ? [{ kind: 'context' }] : [];
}

function resolve(written: string, from: string, index: number, names: StageNames): FileSource | 'scratch' {
  return withPlace(
    (problem, cause) => new Problem(`${shown(written)}: ${problem}`, { cause }),
    () => resolveFrom(from, index, names),
  );
}

const without = (source: FileSource | 'scratch'): FileSource[] => (source === 'scratch' ? [] : [source]);

/** A variable may be a path. An address of a wrong kind is told of when it is evaluated. */
function mayBeLocal(source: string): boolean {
  if (source.startsWith('$')) return true;
  try {
    return sourceKind(source) === 'local';
  } catch (error) {
    if (error instanceof Problem) return false;
    throw error;
  }
}
