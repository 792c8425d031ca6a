// Removes what a structural schema does not name.
import { childPath, isObject, ownValue } from './objects.ts';
import type { StructuralSchema } from './structural.ts';

/** Fields that an object has whether its schema names them or not. */
const TYPE_FIELDS = ['apiVersion', 'kind', 'metadata'];

/** metav1.ObjectMeta: its values are the server's business, its names are closed. */
const METADATA_FIELDS = new Set([
  'name',
  'generateName',
  'namespace',
  'selfLink',
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'labels',
  'annotations',
  'ownerReferences',
  'finalizers',
  'managedFields',
]);

/**
 * Removes the fields that `schema` does not name from `object`, in place, and returns their paths
 * (`spec.ports[0].colour`). Stays out of values below x-kubernetes-preserve-unknown-fields that no property describes.
 */
export function prune(schema: StructuralSchema, object: unknown): string[] {
  const removed: string[] = [];
  pruneValue({ ...schema, 'x-kubernetes-embedded-resource': true }, object, '', removed);
  return removed;
}

function pruneValue(schema: StructuralSchema, value: unknown, path: string, removed: string[]): void {
  if (Array.isArray(value)) {
    if (!schema.items) return;
    for (const [index, item] of (value as unknown[]).entries()) {
      pruneValue(schema.items, item, `${path}[${index}]`, removed);
    }
  } else if (isObject(value)) {
    pruneObject(schema, value, path, removed);
  }
}

function pruneObject(schema: StructuralSchema, object: Record<string, unknown>, path: string, removed: string[]): void {
  const isEmbedded = schema['x-kubernetes-embedded-resource'] === true;
  const keepsUnknown = schema['x-kubernetes-preserve-unknown-fields'] === true || schema.additionalProperties === true;
  for (const key of Object.keys(object)) {
    const at = childPath(path, key);
    if (isEmbedded && TYPE_FIELDS.includes(key)) {
      if (key === 'metadata') pruneMetadata(object[key], at, removed);
      continue;
    }
    const child = ownValue(schema.properties, key) ?? schemaOf(schema.additionalProperties);
    if (child) {
      pruneValue(child, object[key], at, removed);
    } else if (!keepsUnknown) {
      delete object[key];
      removed.push(at);
    }
  }
}

function pruneMetadata(metadata: unknown, path: string, removed: string[]): void {
  if (!isObject(metadata)) return;
  for (const key of Object.keys(metadata)) {
    if (METADATA_FIELDS.has(key)) continue;
    delete metadata[key];
    removed.push(childPath(path, key));
  }
}

function schemaOf(additional: StructuralSchema | boolean | undefined): StructuralSchema | undefined {
  return typeof additional === 'object' ? additional : undefined;
}
