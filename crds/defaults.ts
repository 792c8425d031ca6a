// Defaults of a schema, taken out of a value again: what is left says the same, whatever fields a later version adds.
import { isDeepStrictEqual } from 'node:util';
import type { OpenApiSchema } from './open-api.ts';

/**
 * A copy of `value` without the fields that have their default, however deep. Two values that are the same once they are
 * defaulted are the same without defaults, and a field that comes with a default later on changes neither. Fields that
 * are undefined go as well; those that `schema` does not know stay.
 */
export function withoutDefaults(schema: OpenApiSchema | undefined, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => withoutDefaults(schema?.items, item));
  if (value === null || typeof value !== 'object') return value;
  const out: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(value)) {
    const inner = schema?.properties?.[name] ?? schema?.additionalProperties;
    if (field === undefined) continue;
    const left = withoutDefaults(inner, field);
    if (inner?.default !== undefined && isDeepStrictEqual(left, withoutDefaults(inner, inner.default))) continue;
    out[name] = left;
  }
  return out;
}
