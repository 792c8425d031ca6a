// What a seccomp filter decides by architecture and number of a call alone.
import { FIELD, OP, type Instruction } from './filter-program.ts';

export interface Range {
  readonly first: number;
  readonly last: number;
}

/** The calls of one set, and the instruction that all of them come to: a return, or the first look at something else. */
export interface Decision {
  readonly architecture: Range;
  readonly number: Range;
  readonly at: number;
}

/** A range but for what has been told apart from it. */
interface Values extends Range {
  readonly without: Set<number>;
}

interface Path {
  architecture: Values;
  number: Values;
  at: number;
  /** What was loaded last. */
  held: 'architecture' | 'number' | undefined;
}

const MAX = 2 ** 32 - 1;
/** The kernel takes 4096 instructions: of a filter that tells more apart, it is not to be found out how long this takes. */
const MAX_PATHS = 4096;

/**
 * The decisions of a program, of which every call there can be belongs to one. Undefined for a program that calculates, or
 * remembers anything, before it has done with architecture and number.
 */
export function findDecisions(program: readonly Instruction[]): Decision[] | undefined {
  const decisions: Decision[] = [];
  const open: Path[] = [{ architecture: from(0, MAX), number: from(0, MAX), at: 0, held: undefined }];
  let count = 0;
  for (let path = open.pop(); path; path = open.pop()) {
    count += 1;
    if (count > MAX_PATHS || !follow(program, path, open)) return undefined;
    for (const architecture of rangesOf(path.architecture))
      for (const number of rangesOf(path.number)) decisions.push({ architecture, number, at: path.at });
  }
  return decisions;
}

/** Follows a path to its end; calls that go another way from somewhere on are put into `open`. False if it cannot. */
function follow(program: readonly Instruction[], path: Path, open: Path[]): boolean {
  for (let step = program[path.at]; step; step = program[path.at]) {
    const { code, k, jt, jf } = step;
    const isDecidedByOthers = code === OP.load && k !== FIELD.number && k !== FIELD.architecture;
    if (code === OP.return || isDecidedByOthers) return true;
    if (code === OP.load) path.held = k === FIELD.number ? 'number' : 'architecture';
    if (code === OP.load || code === OP.jump) {
      path.at += code === OP.jump ? 1 + k : 1;
      continue;
    }
    const { held } = path;
    if (held === undefined) return false;
    const compared = compare(step, path[held]);
    if (!compared) return false;
    const { yes, no } = compared;
    const at = path.at + 1;
    const other = held === 'number' ? 'architecture' : 'number';
    if (yes && no) open.push({ ...path, [other]: copyOf(path[other]), [held]: yes, at: at + jt });
    path[held] = no ?? yes ?? path[held];
    path.at = at + (no ? jf : jt);
  }
  return false;
}

/** The values for which a comparison is true, and the others; undefined for an instruction that is none. */
function compare({ code, k }: Instruction, values: Values): { yes?: Values; no?: Values } | undefined {
  const { first, last, without } = values;
  if (code === OP.ifEqual) {
    if (k < first || k > last || without.has(k)) return { no: values };
    if (first === last) return { yes: values };
    // Nobody else has this set: to make another one for each comparison takes longer than all else here.
    without.add(k);
    return { yes: from(k, k), no: values };
  }
  if (code !== OP.ifAtLeast && code !== OP.ifGreater) return undefined;
  const least = code === OP.ifAtLeast ? k : k + 1;
  if (last < least) return { no: values };
  if (first >= least) return { yes: values };
  return { yes: { ...copyOf(values), first: least }, no: { first, last: least - 1, without } };
}

const from = (first: number, last: number): Values => ({ first, last, without: new Set() });

const copyOf = (values: Values): Values => ({ ...values, without: new Set(values.without) });

/** What is left of the values, in order. */
function rangesOf({ first, last, without }: Values): Range[] {
  const gaps = [...without].filter((value) => first <= value && value <= last).toSorted((a, b) => a - b);
  const firsts = [first, ...gaps.map((value) => value + 1)];
  const lasts = [...gaps.map((value) => value - 1), last];
  return firsts
    .map((start, index) => ({ first: start, last: lasts[index] ?? last }))
    .filter((range) => range.first <= range.last);
}
