// Writes a seccomp filter from its end to its beginning: all jumps lead forward, so what one leads to is there first.
import { MAX_SKIP, OP, type Instruction } from './filter-program.ts';

/** Instructions that belong together, and what they are told from others by. */
export interface Sequence {
  readonly instructions: readonly Instruction[];
  readonly text: string;
}

/** A place in the filter, counted from its end. */
export type Place = number;

export interface FilterWriter {
  /** Puts the instruction before all the others. */
  add(instruction: Instruction): Place;
  /** Puts the sequence before all the others, unless it is there already and not far. */
  addOnce(sequence: Sequence): Place;
  /** Puts a comparison before all the others: from `boundary` on a value leads to `above`, else to `below`. */
  addChoice(boundary: number, above: Place, below: Place): Place;
  /** The filter, from its beginning. */
  finish(): Instruction[];
}

/** What a comparison can skip when it needs a jump of its own for its other way. */
const NEAR = MAX_SKIP - 1;

export function createFilterWriter(): FilterWriter {
  const written: Instruction[] = [];
  const known = new Map<string, Place>();
  const skipTo = (place: Place): number => written.length - 1 - place;
  const add = (instruction: Instruction): Place => written.push(instruction) - 1;
  const reach = (place: Place): Place =>
    skipTo(place) > NEAR ? add({ code: OP.jump, jt: 0, jf: 0, k: skipTo(place) }) : place;
  return {
    add,
    addOnce({ instructions, text }) {
      const there = known.get(text);
      if (there !== undefined && skipTo(there) <= NEAR) return there;
      for (const instruction of instructions.toReversed()) add(instruction);
      known.set(text, written.length - 1);
      return written.length - 1;
    },
    addChoice(boundary, above, below) {
      const [yes, no] = [reach(above), reach(below)];
      return add({ code: OP.ifAtLeast, jt: skipTo(yes), jf: skipTo(no), k: boundary });
    },
    finish: () => written.toReversed(),
  };
}
