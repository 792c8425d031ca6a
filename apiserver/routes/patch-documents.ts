// The kinds of patch, each as a function of the present object.
import jsonPatchLibrary, { type Operation } from 'fast-json-patch';
import { messageOf, WindlassError } from '../../lib/errors.ts';
import type { Resource, StoredObject } from '../resources/resource.ts';
import { findDuplicateFields } from '../schema/duplicate-fields.ts';
import { applyStrategicMerge } from '../schema/strategic-merge.ts';
import { badRequest } from './api-errors.ts';
import { MAX_BODY_BYTES, parseJson } from './body.ts';
import { refuseDeepNesting } from './nesting.ts';

const MAX_OPERATIONS = 10_000;
/** What the copies of one JSON patch may add up to: doubling a value thirty times takes thirty lines. */
const MAX_COPIED_BYTES = MAX_BODY_BYTES;

export interface PatchDocument {
  /** Returns the patched object; `current` is a private copy and may be changed. */
  apply(current: StoredObject): unknown;
  readonly duplicates: readonly string[];
}

/** Parses a patch of `contentType` for `resource`. UnsupportedMediaType for what the resource does not take. */
export function parsePatch(body: Buffer, contentType: string, resource: Resource): PatchDocument {
  const text = body.toString();
  switch (contentType) {
    case 'application/json-patch+json':
      return { apply: jsonPatch(parseJson(text)), duplicates: [] };
    case 'application/merge-patch+json': {
      const patch = patchObject(parseJson(text));
      return { apply: (current) => mergePatch(current, patch), duplicates: findDuplicateFields(text) };
    }
    case 'application/strategic-merge-patch+json': {
      if (resource.custom) throw unsupported(resource);
      const patch = patchObject(parseJson(text));
      const apply = (current: StoredObject): unknown => applyStrategicMerge(resource.schema, current, patch);
      return { apply, duplicates: findDuplicateFields(text) };
    }
    case 'application/apply-patch+yaml':
      throw new WindlassError(
        'UnsupportedMediaType',
        'server-side apply (application/apply-patch+yaml) is not supported yet: use client-side apply or a merge patch',
      );
    default:
      throw unsupported(resource);
  }
}

function unsupported(resource: Resource): WindlassError {
  const types = ['application/json-patch+json', 'application/merge-patch+json'];
  if (!resource.custom) types.push('application/strategic-merge-patch+json');
  return new WindlassError(
    'UnsupportedMediaType',
    `the body of the request was in an unknown format - accepted media types include: ${types.join(', ')}`,
  );
}

function patchObject(data: unknown): Record<string, unknown> {
  if (data === null || typeof data !== 'object' || Array.isArray(data)) throw badRequest('the patch must be an object');
  return data as Record<string, unknown>;
}

function jsonPatch(operations: unknown): (current: StoredObject) => unknown {
  if (!Array.isArray(operations)) throw badRequest('a JSON patch must be a list of operations');
  if (operations.length > MAX_OPERATIONS) {
    throw new WindlassError(
      'RequestEntityTooLarge',
      `The allowed maximum operations in a JSON patch is ${MAX_OPERATIONS}, got ${operations.length}`,
    );
  }
  return (current) => {
    let [document, copiedBytes]: [unknown, number] = [current, 0];
    for (const [index, operation] of (structuredClone(operations) as Operation[]).entries()) {
      if (operation?.op === 'copy') copiedBytes += sizeAt(document, operation.from);
      if (copiedBytes > MAX_COPIED_BYTES) {
        throw new WindlassError('RequestEntityTooLarge', `the copies of a JSON patch exceed ${MAX_COPIED_BYTES} bytes`);
      }
      document = applyOperation(document, operation, index);
    }
    refuseDeepNesting(document);
    return document;
  };
}

function applyOperation(document: unknown, operation: Operation, index: number): unknown {
  try {
    return jsonPatchLibrary.applyOperation(document, operation, true, true, true, index).newDocument;
  } catch (error) {
    const message = messageOf(error).split('\n')[0];
    // A `test` that fails, or a path that is not there: the patch does not fit this object.
    throw new WindlassError('Invalid', `the server rejected our request due to an error in our request: ${message}`, {
      cause: error,
    });
  }
}

/** Bytes of the value at a pointer, as JSON; 0 where there is none, which the operation itself will say. */
function sizeAt(document: unknown, pointer: unknown): number {
  try {
    const value: unknown = jsonPatchLibrary.getValueByPointer(document, String(pointer));
    return JSON.stringify(value)?.length ?? 0;
  } catch {
    return 0;
  }
}

/** RFC 7386. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (patch === null || typeof patch !== 'object' || Array.isArray(patch)) return patch;
  const isObject = target !== null && typeof target === 'object' && !Array.isArray(target);
  const result: Record<string, unknown> = isObject ? { ...(target as Record<string, unknown>) } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else setOwn(result, key, mergePatch(Object.hasOwn(result, key) ? result[key] : undefined, value));
  }
  return result;
}

// Assigning to `__proto__` would change the prototype instead of a field.
function setOwn(object: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
}
