// The life of an object on its way into the store: what the client sent becomes what is stored, or is refused.
import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { rfc3339 } from '../../lib/clock.ts';
import { badRequest, conflict, invalid } from '../routes/api-errors.ts';
import { apiVersionOf } from '../resources/registry.ts';
import type { RequestContext, Resource, StoredObject } from '../resources/resource.ts';
import { applyDefaults } from '../schema/defaults.ts';
import type { FieldError } from '../schema/field-error.ts';
import { prune } from '../schema/prune.ts';
import { validateSchema } from '../schema/validate.ts';
import { checkCertificateRequest } from './certificate-requests.ts';
import { checkNodeRestriction } from './node-restriction.ts';
import { validateMetadata, validateMetadataUpdate } from './object-meta.ts';

/** Who writes and where, for the checks that compare the body with the URL. */
export interface WriteTarget {
  readonly resource: Resource;
  readonly namespace: string;
  /** Empty on create. */
  readonly name: string;
}

export interface UnknownFields {
  readonly mode: 'Ignore' | 'Warn' | 'Strict';
  readonly duplicates: readonly string[];
  readonly warnings: string[];
}

/** The body as an object of `target.resource`: kind, name and namespace agree with the URL, unknown fields are gone. */
export function acceptBody(body: Record<string, unknown>, target: WriteTarget, unknown: UnknownFields): StoredObject {
  const { resource } = target;
  const apiVersion = apiVersionOf(resource);
  if (body['apiVersion'] !== undefined && body['apiVersion'] !== apiVersion) {
    throw badRequest(
      `the API version in the data (${JSON.stringify(body['apiVersion'])}) does not match the expected API version (${apiVersion})`,
    );
  }
  if (body['kind'] !== undefined && body['kind'] !== resource.kind) {
    throw badRequest(
      `${JSON.stringify(body['kind'])} in version "${resource.version}" cannot be handled as a ${resource.kind}: kind does not match`,
    );
  }
  const metadata = body['metadata'] ?? {};
  if (metadata === null || typeof metadata !== 'object' || Array.isArray(metadata)) {
    throw badRequest(
      `${resource.kind} in version "${resource.version}" cannot be handled as a ${resource.kind}: metadata must be an object`,
    );
  }
  const object = { ...body, apiVersion, kind: resource.kind, metadata: { ...metadata } } as StoredObject;
  checkMetadataTypes(object, resource);
  const sentNamespace = object.metadata.namespace ?? '';
  if (sentNamespace !== '' && sentNamespace !== target.namespace) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  }
  if (resource.namespaced) object.metadata.namespace = target.namespace;
  else delete object.metadata.namespace;
  if (target.name !== '') {
    if (object.metadata.name && object.metadata.name !== target.name) {
      throw badRequest(
        `the name of the object (${object.metadata.name}) does not match the name on the URL (${target.name})`,
      );
    }
    object.metadata.name = target.name;
  }
  dropUnknownFields(object, resource, unknown);
  return object;
}

const METADATA_MAPS = ['labels', 'annotations'] as const;

/** Upstream decodes into Go types: a number as a label fails there, before any rule is looked at. */
function checkMetadataTypes({ metadata }: StoredObject, resource: Resource): void {
  const refuse = (field: string, want: string): never => {
    throw badRequest(
      `${resource.kind} in version "${resource.version}" cannot be handled as a ${resource.kind}: metadata.${field} must be ${want}`,
    );
  };
  const data = metadata as unknown as Record<string, unknown>;
  for (const field of ['name', 'generateName', 'namespace', 'uid', 'resourceVersion'] as const) {
    if (data[field] === null) delete data[field];
    else if (data[field] !== undefined && typeof data[field] !== 'string') refuse(field, 'a string');
  }
  for (const field of METADATA_MAPS) {
    const value = data[field];
    if (value === null) delete data[field];
    else if (value !== undefined) {
      if (typeof value !== 'object' || Array.isArray(value)) refuse(field, 'a map of strings');
      for (const [key, each] of Object.entries(value as Record<string, unknown>)) {
        if (typeof each !== 'string') refuse(`${field}[${key}]`, 'a string');
      }
    }
  }
  for (const field of ['finalizers', 'ownerReferences'] as const) {
    if (data[field] === null) delete data[field];
    else if (data[field] !== undefined && !Array.isArray(data[field])) refuse(field, 'a list');
  }
  for (const owner of (data['ownerReferences'] ?? []) as unknown[]) {
    if (owner === null || typeof owner !== 'object' || Array.isArray(owner))
      refuse('ownerReferences', 'a list of objects');
  }
}

function dropUnknownFields(
  object: StoredObject,
  resource: Resource,
  { mode, duplicates, warnings }: UnknownFields,
): void {
  const unknown = prune(resource.schema, object);
  if (mode === 'Ignore') return;
  const texts = [
    ...duplicates.map((path) => `duplicate field "${path}"`),
    ...unknown.map((path) => `unknown field "${path}"`),
  ];
  if (mode === 'Warn') {
    warnings.push(...texts);
  } else if (texts.length > 0) {
    throw badRequest(
      `${resource.kind} in version "${resource.version}" cannot be handled as a ${resource.kind}: strict decoding error: ${texts.join(', ')}`,
    );
  }
}

/** Completes a new object and checks it; it has its final name by now. */
export function admitCreate(resource: Resource, object: StoredObject, context: RequestContext): void {
  const { metadata } = object;
  if (metadata.resourceVersion) throw badRequest('resourceVersion should not be set on objects to be created');
  for (const field of [
    'deletionTimestamp',
    'deletionGracePeriodSeconds',
    'managedFields',
    'resourceVersion',
    'generation',
  ] as const) {
    delete metadata[field];
  }
  metadata.uid = randomUUID();
  metadata.creationTimestamp = rfc3339(context.now);
  if (hasGeneration(resource)) metadata.generation = 1;
  if (resource.status) delete object['status'];
  resource.prepareForCreate?.(object, context);
  applyDefaults(resource.schema, object);
  check(resource, object, undefined, context, validateMetadata(object, resource));
}

/** Completes a changed object from `old` and checks it. `subresource` status changes status only, the main path all else. */
export function admitUpdate(
  resource: Resource,
  object: StoredObject,
  old: StoredObject,
  context: RequestContext,
): void {
  const { metadata } = object;
  if (metadata.uid && metadata.uid !== old.metadata.uid) {
    const why = `Precondition failed: UID in precondition: ${metadata.uid}, UID in object meta: ${old.metadata.uid}`;
    throw conflict(resource, old.metadata.name, why);
  }
  if (context.subresource === 'status' || context.subresource === 'approval') keepAllButStatus(resource, object, old);
  else if (resource.status) keepStatus(object, old);
  for (const field of [
    'uid',
    'creationTimestamp',
    'deletionTimestamp',
    'deletionGracePeriodSeconds',
    'generation',
    'generateName',
    'resourceVersion',
    'namespace',
  ] as const) {
    copyField(
      object.metadata as unknown as Record<string, unknown>,
      old.metadata as unknown as Record<string, unknown>,
      field,
    );
  }
  delete object.metadata.managedFields;
  resource.prepareForUpdate?.(object, old, context);
  applyDefaults(resource.schema, object);
  if (hasGeneration(resource) && context.subresource !== 'status' && hasSpecChanged(resource, object, old)) {
    object.metadata.generation = (old.metadata.generation ?? 1) + 1;
  }
  check(resource, object, old, context, validateMetadataUpdate(object, old));
}

function check(
  resource: Resource,
  object: StoredObject,
  old: StoredObject | undefined,
  context: RequestContext,
  metadataErrors: readonly FieldError[],
): void {
  checkNodeRestriction(resource, object, old, context);
  if (resource.plural === 'certificatesigningrequests' && !old) checkCertificateRequest(object, context);
  // Kinds of ours and of users change while objects of theirs are stored.
  const errors = [...metadataErrors, ...validateSchema(resource.schema, object, resource.custom ? old : undefined)];
  errors.push(...(resource.validate?.(object, old, context) ?? []));
  // CEL rules are evaluated on objects of the right shape only.
  if (errors.length === 0) errors.push(...(resource.rules?.(object, old) ?? []));
  if (errors.length > 0) throw invalid(resource, object.metadata.name, errors);
}

/** What is not the status is the very object that `old` has, where nothing will write to it: equal without a comparison. */
function keepAllButStatus(resource: Resource, object: StoredObject, old: StoredObject): void {
  const { status } = object;
  for (const key of Object.keys(object)) if (key !== 'metadata') delete object[key];
  const { metadata: oldMetadata, ...rest } = resource.custom ? old : structuredClone(old);
  Object.assign(object, rest);
  if (status === undefined) delete object['status'];
  else object['status'] = status;
  object.metadata = { ...oldMetadata };
}

function keepStatus(object: StoredObject, old: StoredObject): void {
  copyField(object, old, 'status');
}

function copyField(to: Record<string, unknown>, from: Record<string, unknown>, field: string): void {
  if (from[field] === undefined) delete to[field];
  else to[field] = from[field];
}

/** Built-in data kinds have no generation upstream either. */
export function hasGeneration(resource: Resource): boolean {
  return resource.custom || resource.plural === 'customresourcedefinitions';
}

function hasSpecChanged(resource: Resource, object: StoredObject, old: StoredObject): boolean {
  const { metadata: _a, status: statusA, ...a } = object;
  const { metadata: _b, status: statusB, ...b } = old;
  if (!isDeepStrictEqual(a, b)) return true;
  return !resource.status && !isDeepStrictEqual(statusA, statusB);
}
