// A seccomp filter that decides the same in fewer instructions. libseccomp compiles a rule into one comparison per call:
// more than a thousand, which the kernel translates whenever a process is given the filter, for every exec anew. By ranges
// of numbers, found by halving, it is a third.
import { findDecisions, type Decision } from './filter-decisions.ts';
import { decodeProgram, encodeProgram, FIELD, OP, successors, type Instruction } from './filter-program.ts';
import { createFilterWriter, type FilterWriter, type Place, type Sequence } from './filter-writer.ts';

/** What to do with a value from `first` on, up to where the next part begins. */
interface Part {
  readonly first: number;
  write(): Place;
}

/** The shorter filter; the same one where it does more than this knows of, or would not become shorter. */
export function shortenFilter(filter: Buffer): Buffer {
  const program = decodeProgram(filter);
  const decisions = findDecisions(program);
  if (!decisions) return filter;
  const writer = createFilterWriter();
  const endings = createEndings(program);
  const architectures = [...new Set(decisions.map(({ architecture }) => architecture.first))];
  const parts = architectures
    .toSorted((a, b) => a - b)
    .map((first) => ({ first, write: () => writeNumbers(writer, ofArchitecture(decisions, first), endings) }));
  choose(writer, parts);
  writer.add(load(FIELD.architecture));
  const shorter = writer.finish();
  return shorter.length < program.length ? encodeProgram(shorter) : filter;
}

/** The decisions about calls of one architecture, by number. */
function ofArchitecture(decisions: readonly Decision[], value: number): Decision[] {
  return decisions
    .filter(({ architecture }) => architecture.first <= value && value <= architecture.last)
    .toSorted((a, b) => a.number.first - b.number.first);
}

/** Writes what calls of one architecture come to. */
function writeNumbers(writer: FilterWriter, decisions: readonly Decision[], endingAt: (at: number) => Sequence): Place {
  const endings = decisions.map(({ number, at }) => ({ first: number.first, ending: endingAt(at) }));
  const parts = endings
    .filter(({ ending }, index) => ending.text !== endings[index - 1]?.ending.text)
    .map(({ first, ending }) => ({ first, write: () => writer.addOnce(ending) }));
  const place = choose(writer, parts);
  return parts.length === 1 ? place : writer.add(load(FIELD.number));
}

/** Writes what finds the part for the value that was loaded, by halving what is left. */
function choose(writer: FilterWriter, parts: readonly Part[]): Place {
  const middle = parts.length >> 1;
  const boundary = parts[middle];
  if (boundary === undefined) throw new RangeError('a filter decides something');
  if (middle === 0) return boundary.write();
  const above = choose(writer, parts.slice(middle));
  const below = choose(writer, parts.slice(0, middle));
  return writer.addChoice(boundary.first, above, below);
}

/** Finds all that can follow from an instruction on, as a sequence by itself. */
function createEndings(program: readonly Instruction[]): (start: number) => Sequence {
  const known = new Map<number, Sequence>();
  return (start) => {
    const instructions = known.has(start) ? [] : copyFrom(program, start);
    const sequence = known.get(start) ?? { instructions, text: encodeProgram(instructions).toString('latin1') };
    known.set(start, sequence);
    return sequence;
  };
}

function copyFrom(program: readonly Instruction[], start: number): Instruction[] {
  const at = (index: number): Instruction => {
    const instruction = program[index];
    if (!instruction) throw new RangeError('a filter ends with a return');
    return instruction;
  };
  const reached = new Set([start]);
  // A set is walked through in the order in which it grows.
  for (const index of reached) for (const next of successors(at(index), index)) reached.add(next);
  const places = new Map([...reached].toSorted((a, b) => a - b).map((index, place) => [index, place]));
  return [...places].map(([index, place]) => {
    const [jt = 0, jf = jt] = successors(at(index), index).map((next) => (places.get(next) ?? 0) - place - 1);
    return at(index).code === OP.jump ? { ...at(index), k: jt } : { ...at(index), jt, jf };
  });
}

const load = (field: number): Instruction => ({ code: OP.load, jt: 0, jf: 0, k: field });
