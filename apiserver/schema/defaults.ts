// Fills in the defaults of a structural schema, on write and on read.
import { isObject, ownValue, setOwn } from './objects.ts';
import type { StructuralSchema } from './structural.ts';

/**
 * Sets every absent field that has a default, at any depth, in place. A null for a field that has a default and is not
 * nullable counts as absent. A default object is itself completed from the schema below it.
 * Answers whether anything was set.
 */
export function applyDefaults(schema: StructuralSchema, object: unknown): boolean {
  if (isObject(object)) return applyToObject(schema, object);
  let isChanged = false;
  if (Array.isArray(object) && schema.items) {
    for (const item of object as unknown[]) isChanged = applyDefaults(schema.items, item) || isChanged;
  }
  return isChanged;
}

/** Whether any field of `schema` has a default, at any depth. */
export function hasDefaults(schema: StructuralSchema): boolean {
  const { items, additionalProperties: values } = schema;
  return (
    schema.default !== undefined ||
    Object.values(schema.properties ?? {}).some(hasDefaults) ||
    (items !== undefined && hasDefaults(items)) ||
    (isObject(values) && hasDefaults(values as StructuralSchema))
  );
}

function applyToObject(schema: StructuralSchema, object: Record<string, unknown>): boolean {
  let isChanged = false;
  for (const [key, child] of Object.entries(schema.properties ?? {})) {
    const value = ownValue(object, key);
    const isAbsent = value === undefined || (value === null && child.nullable !== true);
    if (isAbsent && child.default !== undefined) {
      setOwn(object, key, structuredClone(child.default));
      isChanged = true;
    }
    isChanged = applyDefaults(child, ownValue(object, key)) || isChanged;
  }
  const { additionalProperties: values } = schema;
  if (!isObject(values)) return isChanged;
  for (const [key, value] of Object.entries(object)) {
    if (Object.hasOwn(schema.properties ?? {}, key)) continue;
    isChanged = applyDefaults(values as StructuralSchema, value) || isChanged;
  }
  return isChanged;
}
