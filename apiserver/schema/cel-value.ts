// JSON values as CEL sees them through their schema: integers are ints, numbers are doubles, times are timestamps.
import { isObject, ownValue } from './objects.ts';
import type { StructuralSchema } from './structural.ts';

// Words of the language that cannot be field names as they are written.
const RESERVED = new Set(
  'true false null in as break const continue else for function if import let loop package namespace return var void while'.split(
    ' ',
  ),
);

/** `value` for the evaluator. Objects have no prototype, so that `__proto__` is a key like any other. */
export function toCelValue(schema: StructuralSchema | undefined, value: unknown): unknown {
  if (typeof value === 'number') return toCelNumber(schema, value);
  if (typeof value === 'string') return toCelString(schema, value);
  if (Array.isArray(value)) return (value as unknown[]).map((item) => toCelValue(schema?.items, item));
  if (!isObject(value)) return value;
  const result = Object.create(null) as Record<string, unknown>;
  const additional = schema?.additionalProperties;
  for (const [key, inner] of Object.entries(value)) {
    const known = ownValue(schema?.properties, key);
    const name = known ? escapeFieldName(key) : key;
    result[name] = toCelValue(known ?? (typeof additional === 'object' ? additional : undefined), inner);
  }
  return result;
}

function toCelNumber(schema: StructuralSchema | undefined, value: number): unknown {
  const isInt = schema?.type === undefined ? Number.isInteger(value) : schema.type === 'integer';
  return isInt && Number.isInteger(value) ? BigInt(value) : value;
}

function toCelString(schema: StructuralSchema | undefined, value: string): unknown {
  if (schema?.format !== 'date-time' && schema?.format !== 'date') return value;
  const at = new Date(value);
  return Number.isNaN(at.getTime()) ? value : at;
}

/** The name of a field in rules: `a-b` is written `a__dash__b`. */
export function escapeFieldName(name: string): string {
  if (RESERVED.has(name)) return `__${name}__`;
  return name
    .replaceAll('__', '__underscores__')
    .replaceAll('.', '__dot__')
    .replaceAll('-', '__dash__')
    .replaceAll('/', '__slash__');
}
