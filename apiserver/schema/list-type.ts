// Lists that are sets or maps: no two items may be the same, or have the same keys.
import type { FieldError } from './field-error.ts';
import { canonicalJson, isObject, ownValue } from './objects.ts';
import type { StructuralSchema } from './structural.ts';

/** One error per item that repeats an earlier one. */
export function validateListType(schema: StructuralSchema, list: readonly unknown[], path: string): FieldError[] {
  const type = schema['x-kubernetes-list-type'];
  if (type !== 'set' && type !== 'map' && schema.uniqueItems !== true) return [];
  const keys = schema['x-kubernetes-list-map-keys'] ?? [];
  const seen = new Set<string>();
  const errors: FieldError[] = [];
  for (const [index, item] of list.entries()) {
    const identity = type === 'map' ? mapKeys(item, keys, schema.items) : item;
    const text = canonicalJson(identity) ?? '';
    if (seen.has(text)) {
      errors.push({ type: 'FieldValueDuplicate', field: `${path}[${index}]`, value: identity, detail: '' });
    }
    seen.add(text);
  }
  return errors;
}

/** The values of the keys that tell the items of a list of type map apart. */
export function mapKeys(
  item: unknown,
  keys: readonly string[],
  items: StructuralSchema | undefined,
): Record<string, unknown> {
  if (!isObject(item)) return {};
  const found: Record<string, unknown> = {};
  for (const key of keys) {
    const value = ownValue(item, key) ?? ownValue(items?.properties, key)?.default;
    if (value !== undefined) found[key] = value;
  }
  return found;
}

/** Finds the item of the old list that a new item continues: lists of type map only. */
export function correlateItems(schema: StructuralSchema, old: unknown): (item: unknown) => unknown {
  const keys = schema['x-kubernetes-list-map-keys'] ?? [];
  if (schema['x-kubernetes-list-type'] !== 'map' || !Array.isArray(old)) return () => undefined;
  const identity = (item: unknown): string => canonicalJson(mapKeys(item, keys, schema.items));
  const byKey = new Map((old as unknown[]).map((item) => [identity(item), item]));
  return (item) => byKey.get(identity(item));
}
