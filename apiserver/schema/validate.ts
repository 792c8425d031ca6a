// Checks an object against its structural schema, in the words of upstream's OpenAPI validation.
import { isDeepStrictEqual } from 'node:util';
import { hasNumberFormat, hasStringFormat } from './formats.ts';
import type { FieldError } from './field-error.ts';
import { correlateItems, validateListType } from './list-type.ts';
import { canonicalJson, childPath, isObject, ownValue } from './objects.ts';
import { createPatternCache } from './pattern.ts';
import type { StructuralSchema } from './structural.ts';

/** More broken fields than this say nothing more to a reader. */
const MAX_ERRORS = 100;

const patternOf = createPatternCache();

/**
 * The rules of `schema` that `object` breaks, in the order of the schema; empty for a valid object. What is the same in
 * `old` is let through, as it was once: a stored object that a newer schema refuses can still be changed elsewhere.
 * https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-ratcheting
 */
export function validateSchema(schema: StructuralSchema, object: unknown, old?: unknown): FieldError[] {
  const errors: FieldError[] = [];
  withinStack(() => validateValue(schema, object, '', errors, old), errors);
  return errors.slice(0, MAX_ERRORS);
}

/** Values where the schema allows anything may be nested without end; comparing them must not take the server down. */
export function withinStack(check: () => void, errors: FieldError[]): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    errors.push({ type: 'FieldValueInvalid', field: '', value: '', detail: 'the object is nested too deeply' });
  }
}

function validateValue(
  schema: StructuralSchema,
  value: unknown,
  path: string,
  errors: FieldError[],
  old?: unknown,
): void {
  if (errors.length >= MAX_ERRORS) return;
  if (old !== undefined && isDeepStrictEqual(value, old)) return;
  if (value === null && (schema.nullable === true || acceptsAnything(schema))) return;
  if (!hasType(schema, value)) {
    errors.push(typeError(schema, value, path));
    return;
  }
  validateEnum(schema, value, path, errors);
  if (typeof value === 'string') validateString(schema, value, path, errors);
  else if (typeof value === 'number') validateNumber(schema, value, path, errors);
  else if (Array.isArray(value)) validateArray(schema, value, path, errors, old);
  else if (isObject(value)) validateObject(schema, value, path, errors, old);
  validateJunctors(schema, value, path, errors);
}

const acceptsAnything = (schema: StructuralSchema): boolean =>
  schema.type === undefined && schema['x-kubernetes-int-or-string'] !== true;

function hasType(schema: StructuralSchema, value: unknown): boolean {
  if (schema['x-kubernetes-int-or-string'] === true) return typeof value === 'string' || Number.isInteger(value);
  switch (schema.type) {
    case undefined:
      return true;
    case 'integer':
      return Number.isInteger(value);
    case 'array':
      return Array.isArray(value);
    case 'object':
      return isObject(value);
    default:
      return typeof value === schema.type;
  }
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

function typeError(schema: StructuralSchema, value: unknown, path: string): FieldError {
  const expected = schema['x-kubernetes-int-or-string'] === true ? 'integer,string' : schema.type;
  const actual = typeName(value);
  const detail = `${inBody(path)} must be of type ${expected}: "${actual}"`;
  return { type: 'FieldValueTypeInvalid', field: path, value: actual, detail };
}

const inBody = (path: string): string => (path === '' ? 'in body' : `${path} in body`);

function invalid(path: string, value: unknown, rule: string): FieldError {
  return { type: 'FieldValueInvalid', field: path, value, detail: `${inBody(path)} ${rule}` };
}

function validateEnum(schema: StructuralSchema, value: unknown, path: string, errors: FieldError[]): void {
  const allowed = schema.enum;
  if (!allowed) return;
  const isScalar = value === null || typeof value !== 'object';
  if (isScalar ? allowed.includes(value) : allowed.some((each) => canonicalJson(each) === canonicalJson(value))) return;
  const detail = `supported values: ${allowed.map((each) => JSON.stringify(each)).join(', ')}`;
  errors.push({ type: 'FieldValueNotSupported', field: path, value, detail });
}

function validateString(schema: StructuralSchema, value: string, path: string, errors: FieldError[]): void {
  const { minLength = 0, maxLength = Infinity, pattern, format } = schema;
  // Lengths are in code points; counting them is needed only near a limit.
  const length = value.length > maxLength || value.length < minLength * 2 ? codePoints(value) : value.length;
  if (length > maxLength) {
    errors.push({ type: 'FieldValueTooLong', field: path, value, detail: `may not be more than ${maxLength} bytes` });
    // What is too long is not matched against a pattern: the rule that bounds the work comes first.
    return;
  }
  if (length < minLength) errors.push(invalid(path, value, `should be at least ${minLength} chars long`));
  if (pattern !== undefined && !patternOf(pattern).matches(value)) {
    errors.push(invalid(path, value, `should match '${pattern}'`));
  }
  if (format !== undefined && !hasStringFormat(format, value)) {
    errors.push(invalid(path, value, `must be of type ${format}: ${JSON.stringify(value)}`));
  }
}

function codePoints(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

function validateNumber(schema: StructuralSchema, value: number, path: string, errors: FieldError[]): void {
  const { minimum, maximum, multipleOf, format } = schema;
  if (schema.type === 'integer' && !Number.isSafeInteger(value)) {
    // It was rounded when the body was read: to store it would be to store another number than was sent.
    errors.push(
      invalid(path, value, 'should be between -9007199254740991 and 9007199254740991, or it could not be kept exactly'),
    );
    return;
  }
  if (format !== undefined && !hasNumberFormat(format, value)) {
    const detail = `Checked value must be of type ${schema.type ?? 'integer'} with format ${format} in ${path}`;
    errors.push({ type: 'FieldValueInvalid', field: path, value, detail });
  }
  if (maximum !== undefined && (schema.exclusiveMaximum === true ? value >= maximum : value > maximum)) {
    const bound = schema.exclusiveMaximum === true ? 'less than' : 'less than or equal to';
    errors.push(invalid(path, value, `should be ${bound} ${maximum}`));
  }
  if (minimum !== undefined && (schema.exclusiveMinimum === true ? value <= minimum : value < minimum)) {
    const bound = schema.exclusiveMinimum === true ? 'greater than' : 'greater than or equal to';
    errors.push(invalid(path, value, `should be ${bound} ${minimum}`));
  }
  if (multipleOf !== undefined && !Number.isInteger(Number((value / multipleOf).toPrecision(15)))) {
    errors.push(invalid(path, value, `should be a multiple of ${multipleOf}`));
  }
}

function validateArray(
  schema: StructuralSchema,
  value: readonly unknown[],
  path: string,
  errors: FieldError[],
  old: unknown,
): void {
  const { minItems = 0, maxItems = Infinity, items } = schema;
  if (value.length > maxItems) {
    errors.push(tooMany(path, value.length, maxItems));
    return;
  }
  if (value.length < minItems) {
    errors.push(invalid(path, value.length, `should have at least ${minItems} items`));
  }
  if (items) {
    const oldOf = correlateItems(schema, old);
    for (const [index, item] of value.entries()) {
      if (errors.length >= MAX_ERRORS) return;
      validateValue(items, item, `${path}[${index}]`, errors, oldOf(item));
    }
  }
  errors.push(...validateListType(schema, value, path));
}

function validateObject(
  schema: StructuralSchema,
  value: Record<string, unknown>,
  path: string,
  errors: FieldError[],
  old: unknown,
): void {
  const { minProperties = 0, maxProperties = Infinity, additionalProperties: values } = schema;
  for (const key of schema.required ?? []) {
    if (!Object.hasOwn(value, key)) {
      errors.push({ type: 'FieldValueRequired', field: childPath(path, key), detail: '' });
    }
  }
  const keys = Object.keys(value);
  if (keys.length > maxProperties) errors.push(tooMany(path, keys.length, maxProperties));
  if (keys.length < minProperties) {
    errors.push(invalid(path, keys.length, `should have at least ${minProperties} properties`));
  }
  for (const key of keys) {
    if (errors.length >= MAX_ERRORS) return;
    const child = ownValue(schema.properties, key) ?? (typeof values === 'object' ? values : undefined);
    if (child)
      validateValue(child, value[key], childPath(path, key), errors, isObject(old) ? ownValue(old, key) : undefined);
  }
}

function tooMany(path: string, actual: number, max: number): FieldError {
  const items = max === 1 ? 'item' : 'items';
  return { type: 'FieldValueTooMany', field: path, value: actual, detail: `must have at most ${max} ${items}` };
}

/** allOf, anyOf, oneOf and not: value checks beside the structure, which never add fields. */
function validateJunctors(schema: StructuralSchema, value: unknown, path: string, errors: FieldError[]): void {
  const passes = (each: StructuralSchema): boolean => validateAt(each, value, path).length === 0;
  const fail = (rule: string): void => {
    errors.push({ type: 'FieldValueInvalid', field: path, value: '', detail: `"${path}" must ${rule}` });
  };
  for (const each of schema.allOf ?? []) errors.push(...validateAt(each, value, path));
  if (schema.anyOf && !schema.anyOf.some(passes)) {
    errors.push(...validateAt(schema.anyOf[0] ?? {}, value, path));
    fail('validate at least one schema (anyOf)');
  }
  if (schema.oneOf) {
    const count = schema.oneOf.filter(passes).length;
    if (count === 0) fail('validate one and only one schema (oneOf). Found none valid');
    if (count > 1) fail(`validate one and only one schema (oneOf). Found ${count} valid alternatives`);
  }
  if (schema.not && passes(schema.not)) fail('not validate the schema (not)');
}

function validateAt(schema: StructuralSchema, value: unknown, path: string): FieldError[] {
  const errors: FieldError[] = [];
  validateValue(schema, value, path, errors);
  return errors;
}
