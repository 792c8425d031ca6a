// x-kubernetes-validations: rules across fields, at any depth of a schema.
// https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
import { isDeepStrictEqual } from 'node:util';
import { Optional } from '@marcbachmann/cel-js';
import { messageOf, WindlassError } from '../../lib/errors.ts';
import { parseJsonPath } from '../table/json-path.ts';
import { BudgetExceededError, createCelCompiler, type CelBudget, type CelExpression } from './cel-expression.ts';
import { toCelValue } from './cel-value.ts';
import type { FieldError, FieldErrorType } from './field-error.ts';
import { correlateItems } from './list-type.ts';
import { childPath, isObject, ownValue } from './objects.ts';
import { withinStack } from './validate.ts';
import type { StructuralSchema, ValidationRule } from './structural.ts';

/**
 * Evaluates all rules of a schema. `old` is the object before an update: rules on oldSelf are skipped without it, and other
 * rules where it has the same value (ratcheting). A part that is the very same object in both, as a write of the status
 * leaves all else, is not looked at.
 */
export type RuleSet = (object: unknown, old: unknown) => FieldError[];

/** Steps of evaluation per object; a rule over a list of 10,000 items needs about ten per item. */
const MAX_STEPS = 2_000_000;
const MAX_TIME_MS = 1000;
const MAX_ERRORS = 100;

const REASONS: Readonly<Record<string, FieldErrorType>> = {
  FieldValueInvalid: 'FieldValueInvalid',
  FieldValueForbidden: 'FieldValueForbidden',
  FieldValueRequired: 'FieldValueRequired',
  FieldValueDuplicate: 'FieldValueDuplicate',
};

interface CompiledRule {
  readonly source: ValidationRule;
  readonly condition: CelExpression;
  readonly message: CelExpression | undefined;
}

/** The rules of a schema and of what is below it; absent where there are none. */
interface RuleNode {
  readonly schema: StructuralSchema;
  readonly rules: readonly CompiledRule[];
  readonly properties: readonly (readonly [string, RuleNode])[];
  readonly items: RuleNode | undefined;
  readonly values: RuleNode | undefined;
}

interface Value {
  readonly json: unknown;
  readonly cel: unknown;
}

/** Compiles the rules of `schema`; Invalid with the first bad rule's place and position when one does not compile. */
export function compileRules(schema: StructuralSchema): RuleSet {
  const errors: FieldError[] = [];
  const root = compileNode(schema, '', createCelCompiler(), errors, true);
  const [first] = errors;
  if (first) throw new WindlassError('Invalid', `${first.field}: ${first.detail}`);
  if (!root) return () => [];
  return (object, old) => {
    const found: FieldError[] = [];
    const budget: CelBudget = { steps: MAX_STEPS, deadline: performance.now() + MAX_TIME_MS };
    const [present, former] = [object, old].map((json) => ({ json, cel: undefined })) as [Value, Value];
    withinStack(() => runNode(root, present, former, '', budget, found), found);
    return found;
  };
}

/** Every rule of `schema` that does not compile, with its path below `path`. */
export function checkRules(schema: StructuralSchema, path: string): FieldError[] {
  const errors: FieldError[] = [];
  compileNode(schema, path, createCelCompiler(), errors, true);
  return errors;
}

function compileNode(
  schema: StructuralSchema,
  path: string,
  compiler: ReturnType<typeof createCelCompiler>,
  errors: FieldError[],
  canCorrelate: boolean,
): RuleNode | undefined {
  const rules = (schema['x-kubernetes-validations'] ?? []).flatMap((source, index) => {
    const at = `${childPath(path, 'x-kubernetes-validations')}[${index}]`;
    return compileRule(source, at, compiler, errors, canCorrelate) ?? [];
  });
  const properties = Object.entries(schema.properties ?? {}).flatMap(([key, child]) => {
    const at = `${childPath(path, 'properties')}[${key}]`;
    const node = compileNode(child, at, compiler, errors, canCorrelate);
    return node ? [[key, node] as const] : [];
  });
  const isMapList = schema['x-kubernetes-list-type'] === 'map';
  const items =
    schema.items && compileNode(schema.items, childPath(path, 'items'), compiler, errors, canCorrelate && isMapList);
  const additional = schema.additionalProperties;
  const values =
    typeof additional === 'object'
      ? compileNode(additional, childPath(path, 'additionalProperties'), compiler, errors, canCorrelate)
      : undefined;
  const isEmpty = rules.length === 0 && properties.length === 0 && !items && !values;
  return isEmpty ? undefined : { schema, rules, properties, items, values };
}

function compileRule(
  source: ValidationRule,
  path: string,
  compiler: ReturnType<typeof createCelCompiler>,
  errors: FieldError[],
  canCorrelate: boolean,
): CompiledRule | undefined {
  const attempt = (field: string, text: string, type: 'bool' | 'string'): CelExpression | undefined => {
    try {
      return compiler(text, type);
    } catch (error) {
      errors.push({ type: 'FieldValueInvalid', field: `${path}.${field}`, value: text, detail: messageOf(error) });
      return undefined;
    }
  };
  const condition = attempt('rule', source.rule, 'bool');
  const message =
    source.messageExpression === undefined
      ? undefined
      : attempt('messageExpression', source.messageExpression, 'string');
  if (condition?.usesOldSelf === true && !canCorrelate) {
    const detail = 'oldSelf cannot be used on the uncorrelatable portion of the schema';
    errors.push({ type: 'FieldValueInvalid', field: `${path}.rule`, value: source.rule, detail });
  }
  if (source.fieldPath !== undefined && fieldNames(source.fieldPath) === undefined) {
    const detail = 'must be a path of fields, such as .spec.image';
    errors.push({ type: 'FieldValueInvalid', field: `${path}.fieldPath`, value: source.fieldPath, detail });
  }
  if (source.reason !== undefined && !Object.hasOwn(REASONS, source.reason)) {
    const detail = `supported values: ${Object.keys(REASONS)
      .map((each) => JSON.stringify(each))
      .join(', ')}`;
    errors.push({ type: 'FieldValueNotSupported', field: `${path}.reason`, value: source.reason, detail });
  }
  return condition && { source, condition, message };
}

function runNode(
  node: RuleNode,
  value: Value,
  old: Value,
  path: string,
  budget: CelBudget,
  errors: FieldError[],
): void {
  if (value.json === undefined || value.json === null || errors.length >= MAX_ERRORS) return;
  if (value.json === old.json && typeof value.json === 'object') return;
  let [present, former] = [value, old];
  const isUnchanged = old.json !== undefined && isDeepStrictEqual(value.json, old.json);
  const rules = isUnchanged ? node.rules.filter(({ condition }) => condition.usesOldSelf) : node.rules;
  if (rules.length > 0) {
    present = withCel(node.schema, value);
    former = withCel(node.schema, old);
    for (const rule of rules) runRule(rule, present, former, path, budget, errors);
  }
  const { json } = present;
  if (isObject(json)) {
    for (const [key, child] of node.properties) {
      runNode(child, member(present, key), member(former, key), childPath(path, key), budget, errors);
    }
    if (node.values) {
      for (const key of Object.keys(json)) {
        if (Object.hasOwn(node.schema.properties ?? {}, key)) continue;
        runNode(node.values, member(present, key), member(former, key), `${path}[${key}]`, budget, errors);
      }
    }
  } else if (Array.isArray(json) && node.items) {
    const formerOf = correlateItems(node.schema, former.json);
    for (const [index, item] of (json as unknown[]).entries()) {
      const cel = Array.isArray(present.cel) ? (present.cel as unknown[])[index] : undefined;
      runNode(
        node.items,
        { json: item, cel },
        { json: formerOf(item), cel: undefined },
        `${path}[${index}]`,
        budget,
        errors,
      );
    }
  }
}

function withCel(schema: StructuralSchema, value: Value): Value {
  return value.cel !== undefined || value.json === undefined
    ? value
    : { json: value.json, cel: toCelValue(schema, value.json) };
}

// What is inside a converted value is converted again only where a rule is: fields are cheap to look up, and their
// names in the converted object may be escaped.
function member(parent: Value, key: string): Value {
  return { json: isObject(parent.json) ? ownValue(parent.json, key) : undefined, cel: undefined };
}

function runRule(
  { source, condition, message }: CompiledRule,
  value: Value,
  old: Value,
  path: string,
  budget: CelBudget,
  errors: FieldError[],
): void {
  const hasOld = old.json !== undefined;
  if (condition.usesOldSelf && !hasOld && source.optionalOldSelf !== true) return;
  const oldSelf = source.optionalOldSelf === true ? (hasOld ? Optional.of(old.cel) : Optional.none()) : old.cel;
  const variables = { self: value.cel, oldSelf };
  const fallback = source.message ?? `failed rule: ${source.rule.trim()}`;
  const fail = (detail: string, type: FieldErrorType, at: string): void => {
    errors.push({ type, field: at, value: shownValue(value.json), detail });
  };
  try {
    if (condition.evaluate(variables, budget) === true) return;
  } catch (error) {
    const reason = error instanceof BudgetExceededError ? error.message : summaryOf(error);
    const shown = error instanceof BudgetExceededError ? source.rule.trim() : fallback;
    fail(`${reason} evaluating rule: ${shown}`, 'FieldValueInvalid', path);
    return;
  }
  const at = [path, ...(fieldNames(source.fieldPath ?? '') ?? [])].reduce(childPath);
  fail(
    evaluateMessage(message, variables, budget) ?? fallback,
    REASONS[source.reason ?? ''] ?? 'FieldValueInvalid',
    at,
  );
}

// A message that cannot be computed falls back to the fixed one: the rule that failed matters more.
function evaluateMessage(
  message: CelExpression | undefined,
  variables: Parameters<CelExpression['evaluate']>[0],
  budget: CelBudget,
): string | undefined {
  try {
    const text = message?.evaluate(variables, budget);
    return typeof text === 'string' && text.trim() !== '' && !text.includes('\n') ? text : undefined;
  } catch {
    return undefined;
  }
}

function summaryOf(error: unknown): string {
  const { summary } = error as { summary?: unknown };
  return typeof summary === 'string' ? summary : messageOf(error);
}

/** Objects and lists are named by their type, as upstream does; a scalar is short enough to be shown. */
function shownValue(json: unknown): unknown {
  if (Array.isArray(json)) return 'array';
  return isObject(json) ? 'object' : json;
}

function fieldNames(path: string): readonly string[] | undefined {
  if (path === '') return [];
  try {
    return parseJsonPath(path).fields;
  } catch {
    return undefined;
  }
}
