// Strategic merge patch: a merge patch that knows from the schema which lists are merged by a key.
// https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/
import { WindlassError } from '../../lib/errors.ts';
import { canonicalJson, isObject, ownValue, setOwn, type JsonObject } from './objects.ts';
import type { StructuralSchema } from './structural.ts';

const PATCH = '$patch';
const RETAIN_KEYS = '$retainKeys';
const DELETE_PRIMITIVES = '$deleteFromPrimitiveList/';
const SET_ORDER = '$setElementOrder/';

/** metav1.ObjectMeta has the same strategies everywhere, and schemas of kinds say nothing of it. */
const METADATA_SCHEMA: StructuralSchema = {
  type: 'object',
  properties: {
    finalizers: { type: 'array', items: { type: 'string' }, 'x-kubernetes-patch-strategy': 'merge' },
    ownerReferences: {
      type: 'array',
      items: { type: 'object' },
      'x-kubernetes-patch-strategy': 'merge',
      'x-kubernetes-patch-merge-key': 'uid',
    },
  },
};

/** `original` with `patch` applied, as a new object. BadRequest for directives that make no sense. */
export function applyStrategicMerge<T extends object>(schema: StructuralSchema, original: T, patch: object): T {
  const withMetadata = { ...schema, properties: { ...schema.properties, metadata: METADATA_SCHEMA } };
  return mergeObject(withMetadata, original as JsonObject, patch as JsonObject) as T;
}

function badPatch(message: string): WindlassError {
  return new WindlassError('BadRequest', `invalid strategic merge patch: ${message}`);
}

function mergeObject(schema: StructuralSchema | undefined, original: JsonObject, patch: JsonObject): JsonObject {
  const directive = ownValue(patch, PATCH);
  if (directive === 'delete') return {};
  if (directive === 'replace') return withoutDirectives(patch) as JsonObject;
  if (directive !== undefined && directive !== 'merge') throw badPatch(`unknown ${PATCH} ${JSON.stringify(directive)}`);
  const result: JsonObject = {};
  for (const [key, value] of Object.entries(retained(original, ownValue(patch, RETAIN_KEYS))))
    setOwn(result, key, value);
  for (const key of fieldsOf(patch)) applyField(schema, result, patch, key);
  return result;
}

function retained(original: JsonObject, keys: unknown): JsonObject {
  if (keys === undefined) return original;
  if (!Array.isArray(keys)) throw badPatch(`${RETAIN_KEYS} must be a list`);
  return Object.fromEntries(Object.entries(original).filter(([key]) => keys.includes(key)));
}

/** The fields a patch is about; `$setElementOrder/ports` alone is about `ports` too. */
function fieldsOf(patch: JsonObject): Set<string> {
  const fields = new Set<string>();
  for (const key of Object.keys(patch)) {
    if (key === PATCH || key === RETAIN_KEYS) continue;
    const prefix = [DELETE_PRIMITIVES, SET_ORDER].find((each) => key.startsWith(each));
    fields.add(prefix === undefined ? key : key.slice(prefix.length));
  }
  return fields;
}

function applyField(schema: StructuralSchema | undefined, result: JsonObject, patch: JsonObject, key: string): void {
  const child = schemaOf(schema, key);
  const before = ownValue(result, key);
  const change = ownValue(patch, key);
  const removed = ownValue(patch, DELETE_PRIMITIVES + key);
  const order = ownValue(patch, SET_ORDER + key);
  if (change === null) {
    delete result[key];
  } else if (isObject(change)) {
    const replaces = child?.['x-kubernetes-patch-strategy'] === 'replace';
    setOwn(result, key, mergeObject(child, isObject(before) && !replaces ? before : {}, change));
    if (change[PATCH] === 'delete') delete result[key];
  } else if (Array.isArray(change) || removed !== undefined || order !== undefined) {
    const list = { before: listOf(before), change: listOf(change), removed: listOf(removed), order };
    setOwn(result, key, mergeList(child, list, key));
  } else if (change !== undefined) {
    setOwn(result, key, change);
  }
}

function schemaOf(schema: StructuralSchema | undefined, key: string): StructuralSchema | undefined {
  const additional = schema?.additionalProperties;
  return ownValue(schema?.properties, key) ?? (typeof additional === 'object' ? additional : undefined);
}

const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? (value as unknown[]) : []);

interface ListChange {
  readonly before: unknown[];
  readonly change: unknown[];
  readonly removed: unknown[];
  readonly order: unknown;
}

function mergeList(schema: StructuralSchema | undefined, list: ListChange, field: string): unknown[] {
  const mergeKey = schema?.['x-kubernetes-patch-merge-key'];
  const merges = (schema?.['x-kubernetes-patch-strategy'] ?? '').split(',').includes('merge');
  if (!merges || list.change.some((item) => isObject(item) && item[PATCH] === 'replace')) {
    return list.change.filter((item) => !(isObject(item) && item[PATCH] !== undefined)).map(withoutDirectives);
  }
  const identity = mergeKey === undefined ? canonicalJson : (item: unknown) => keyOf(item, mergeKey, field);
  const merged = mergeKey === undefined ? mergePrimitives(list) : mergeByKey(schema?.items, list, mergeKey, field);
  return list.order === undefined ? merged : reorder(merged, listOf(list.order), identity);
}

function mergePrimitives({ before, change, removed }: ListChange): unknown[] {
  const gone = new Set(removed.map(canonicalJson));
  const seen = new Set<string>();
  return [...before, ...change].filter((item) => {
    const text = canonicalJson(item);
    if (gone.has(text) || seen.has(text)) return false;
    seen.add(text);
    return true;
  });
}

function mergeByKey(
  items: StructuralSchema | undefined,
  { before, change }: ListChange,
  mergeKey: string,
  field: string,
): unknown[] {
  const byKey = new Map(before.map((item) => [keyOf(item, mergeKey, field), item]));
  for (const item of change) {
    const key = keyOf(item, mergeKey, field);
    const patch = item as JsonObject;
    if (patch[PATCH] === 'delete') {
      byKey.delete(key);
      continue;
    }
    const former = byKey.get(key);
    byKey.set(key, mergeObject(items, isObject(former) ? former : {}, patch));
  }
  return [...byKey.values()];
}

function keyOf(item: unknown, mergeKey: string, field: string): string {
  const value = isObject(item) ? ownValue(item, mergeKey) : undefined;
  if (value === undefined)
    throw badPatch(`map: ${canonicalJson(item)} in ${field} does not contain declared merge key: ${mergeKey}`);
  return canonicalJson(value);
}

/** Items named in `order` come in that order; the others keep their place relative to the item before them. */
function reorder(items: readonly unknown[], order: readonly unknown[], identity: (item: unknown) => string): unknown[] {
  const rank = new Map(order.map((item, index) => [identity(item), index]));
  const named = items.filter((item) => rank.has(identity(item)));
  named.sort((a, b) => (rank.get(identity(a)) ?? 0) - (rank.get(identity(b)) ?? 0));
  const result: unknown[] = [];
  let next = 0;
  for (const item of items) result.push(rank.has(identity(item)) ? named[next++] : item);
  return result;
}

function withoutDirectives(value: unknown): unknown {
  if (Array.isArray(value)) return (value as unknown[]).map(withoutDirectives);
  if (!isObject(value)) return value;
  const result: JsonObject = {};
  for (const [key, inner] of Object.entries(value)) {
    if (key === PATCH || key === RETAIN_KEYS || key.startsWith(DELETE_PRIMITIVES) || key.startsWith(SET_ORDER))
      continue;
    if (inner !== null) setOwn(result, key, withoutDirectives(inner));
  }
  return result;
}
