// The part of kubectl's JSONPath that printer columns, scale paths and selectable fields use:
// .a.b, ['a'], ['a','b'], [0], [-1], [1:3], [*], .*, [?(@.type=="Ready")].
import { WindlassError } from '../../lib/errors.ts';
import { isObject, ownValue } from '../schema/objects.ts';

type Operator = '==' | '!=' | '<' | '<=' | '>' | '>=';

type Step =
  | { readonly kind: 'field'; readonly name: string }
  | { readonly kind: 'union'; readonly names: readonly string[] }
  | { readonly kind: 'all' }
  | { readonly kind: 'slice'; readonly start: number; readonly end: number | undefined }
  | { readonly kind: 'filter'; readonly path: readonly Step[]; readonly test?: { op: Operator; value: unknown } };

export interface JsonPath {
  /** All values at the path, in order; empty when there are none. Never throws. */
  evaluate(root: unknown): unknown[];
  /** The names of a path of plain fields (`.spec.replicas`); undefined when it has other steps. */
  readonly fields: readonly string[] | undefined;
}

const MAX_LENGTH = 1000;
const FIELD = /^\.?([\p{L}_][\p{L}\p{N}_-]*(?:\\\.[\p{L}\p{N}_-]+)*)/u;
const QUOTED = /^\[\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\s*\]/;
const UNION = /^\[\s*('(?:[^'\\]|\\.)*'(?:\s*,\s*'(?:[^'\\]|\\.)*')+)\s*\]/;
const SLICE = /^\[\s*(-?\d{1,9})?\s*(:)?\s*(-?\d{1,9})?\s*\]/;
const FILTER =
  /^\[\?\(\s*@((?:[^'")=!<>]|'[^']*'|"[^"]*")*?)\s*(?:(==|!=|<=|>=|<|>)\s*('[^']*'|"(?:[^"\\]|\\.)*"|[^\s)'"]+)\s*)?\)\]/;

/** Parses `.spec.ports[*].port`, also with a leading `$` or in braces. BadRequest with the rest that is not understood. */
export function parseJsonPath(text: string): JsonPath {
  if (text.length > MAX_LENGTH)
    throw new WindlassError('BadRequest', `JSONPath is longer than ${MAX_LENGTH} characters`);
  const inner = /^\{(.*)\}$/s.exec(text.trim())?.[1] ?? text.trim();
  const steps = parseSteps(inner.replace(/^\$/, ''), text);
  const isPlain = steps.every((step) => step.kind === 'field');
  return {
    evaluate: (root) => runSteps(steps, root),
    fields: isPlain ? steps.map((step) => (step.kind === 'field' ? step.name : '')) : undefined,
  };
}

function parseSteps(path: string, whole: string): Step[] {
  const steps: Step[] = [];
  let rest = path === '.' ? '' : path;
  while (rest !== '') {
    const [step, length] = parseStep(rest, whole, steps.length === 0);
    steps.push(step);
    rest = rest.slice(length);
  }
  return steps;
}

function parseStep(rest: string, whole: string, isFirst: boolean): [Step, number] {
  const wildcard = /^(?:\.\*|\[\s*\*\s*\])/.exec(rest);
  if (wildcard) return [{ kind: 'all' }, wildcard[0].length];
  const quoted = QUOTED.exec(rest);
  if (quoted) return [{ kind: 'field', name: unescape(quoted[1] ?? quoted[2] ?? '') }, quoted[0].length];
  const union = UNION.exec(rest);
  if (union) {
    const names = [...(union[1] ?? '').matchAll(/'((?:[^'\\]|\\.)*)'/g)].map(([, name = '']) => unescape(name));
    return [{ kind: 'union', names }, union[0].length];
  }
  const slice = SLICE.exec(rest);
  if (slice && (slice[1] !== undefined || slice[2])) return [sliceStep(slice), slice[0].length];
  const filter = FILTER.exec(rest);
  if (filter) return [filterStep(filter, whole), filter[0].length];
  const field = FIELD.exec(rest);
  if (field && (isFirst || rest.startsWith('.'))) {
    return [{ kind: 'field', name: (field[1] ?? '').replaceAll('\\.', '.') }, field[0].length];
  }
  throw new WindlassError(
    'BadRequest',
    `JSONPath ${JSON.stringify(whole)} is not understood at ${JSON.stringify(rest)}`,
  );
}

const unescape = (text: string): string => text.replaceAll(/\\(.)/g, '$1');

function sliceStep(match: RegExpExecArray): Step {
  const start = Number(match[1] ?? 0);
  if (!match[2]) return { kind: 'slice', start, end: start === -1 ? undefined : start + 1 };
  return { kind: 'slice', start, end: match[3] === undefined ? undefined : Number(match[3]) };
}

function filterStep(match: RegExpExecArray, whole: string): Step {
  const path = parseSteps(match[1] ?? '', whole);
  if (!match[2]) return { kind: 'filter', path };
  return { kind: 'filter', path, test: { op: match[2] as Operator, value: literal(match[3] ?? '', whole) } };
}

function literal(text: string, whole: string): unknown {
  if (/^['"]/.test(text)) return unescape(text.slice(1, -1));
  if (text === 'true' || text === 'false') return text === 'true';
  if (text === 'null' || text === 'nil') return null;
  const number = Number(text);
  if (Number.isNaN(number))
    throw new WindlassError('BadRequest', `JSONPath ${JSON.stringify(whole)} compares with ${text}`);
  return number;
}

function runSteps(steps: readonly Step[], root: unknown): unknown[] {
  let values: unknown[] = [root];
  for (const step of steps) values = values.flatMap((value) => runStep(step, value));
  return values;
}

function runStep(step: Step, value: unknown): unknown[] {
  switch (step.kind) {
    case 'field': {
      const found = isObject(value) ? ownValue(value, step.name) : undefined;
      return found === undefined ? [] : [found];
    }
    case 'union':
      return step.names.flatMap((name) => runStep({ kind: 'field', name }, value));
    case 'all':
      return childrenOf(value);
    case 'slice':
      return Array.isArray(value) ? (value as unknown[]).slice(step.start, step.end) : [];
    case 'filter':
      return childrenOf(value).filter((child) => passes(step, child));
  }
}

function childrenOf(value: unknown): unknown[] {
  if (Array.isArray(value)) return value as unknown[];
  return isObject(value) ? Object.values(value) : [];
}

function passes({ path, test }: Extract<Step, { kind: 'filter' }>, child: unknown): boolean {
  const [value] = runSteps(path, child);
  if (!test) return value !== undefined;
  if (value === undefined) return false;
  if (test.op === '==') return value === test.value;
  if (test.op === '!=') return value !== test.value;
  if (typeof value !== typeof test.value || (typeof value !== 'number' && typeof value !== 'string')) return false;
  const other = test.value as typeof value;
  if (test.op === '<') return value < other;
  if (test.op === '<=') return value <= other;
  return test.op === '>' ? value > other : value >= other;
}
