// Rules of metadata, the same for every kind.
// https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
import { isLabelKey, isLabelValue } from '../routes/selectors.ts';
import type { Resource, StoredObject } from '../resources/resource.ts';
import type { FieldError } from '../schema/field-error.ts';

const MAX_ANNOTATIONS_BYTES = 256 * 1024;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

const SUBDOMAIN_RULE =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and " +
  "end with an alphanumeric character (e.g. 'example.com', regex used for validation is " +
  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_RULE =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with " +
  "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is " +
  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

/** Errors of the metadata of a new object. */
export function validateMetadata(object: StoredObject, resource: Resource): FieldError[] {
  const { metadata } = object;
  const errors: FieldError[] = [...validateName(metadata.name, resource)];
  errors.push(...validateLabels(metadata.labels), ...validateAnnotations(metadata.annotations));
  errors.push(...validateFinalizers(metadata.finalizers), ...validateOwners(object));
  return errors;
}

function validateFinalizers(finalizers: readonly unknown[] | undefined): FieldError[] {
  return (finalizers ?? [])
    .filter((finalizer) => typeof finalizer !== 'string' || !isLabelKey(finalizer))
    .map((value) => ({
      type: 'FieldValueInvalid',
      field: 'metadata.finalizers',
      value,
      detail: "name part must consist of alphanumeric characters, '-', '_' or '.'",
    }));
}

/** Errors of the metadata of a changed object; what cannot change was already copied from `old`. */
export function validateMetadataUpdate(object: StoredObject, old: StoredObject): FieldError[] {
  const { metadata } = object;
  const errors = [
    ...validateLabels(metadata.labels),
    ...validateAnnotations(metadata.annotations),
    ...validateFinalizers(metadata.finalizers),
    ...validateOwners(object),
  ];
  if (old.metadata.deletionTimestamp) {
    const before = new Set(old.metadata.finalizers);
    const added = (metadata.finalizers ?? []).filter((finalizer) => !before.has(finalizer));
    if (added.length > 0) {
      errors.push({
        type: 'FieldValueForbidden',
        field: 'metadata.finalizers',
        detail: `no new finalizers can be added if the object is being deleted, found new finalizers []string{${added.map((each) => JSON.stringify(each)).join(', ')}}`,
      });
    }
  }
  return errors;
}

function validateName(name: string, resource: Resource): FieldError[] {
  const field = 'metadata.name';
  if (resource.group === 'rbac.authorization.k8s.io') return [];
  const isLabel = resource.group === '' && resource.plural === 'namespaces';
  const limit = isLabel ? 63 : 253;
  const errors: FieldError[] = [];
  if (!(isLabel ? LABEL : SUBDOMAIN).test(name)) {
    errors.push({ type: 'FieldValueInvalid', field, value: name, detail: isLabel ? LABEL_RULE : SUBDOMAIN_RULE });
  }
  if (name.length > limit) {
    errors.push({ type: 'FieldValueInvalid', field, value: name, detail: `must be no more than ${limit} characters` });
  }
  return errors;
}

function validateLabels(labels: Record<string, string> | undefined): FieldError[] {
  return Object.entries(labels ?? {}).flatMap(([key, value]): FieldError[] => {
    const field = 'metadata.labels';
    if (!isLabelKey(key)) {
      const detail =
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
      return [{ type: 'FieldValueInvalid', field, value: key, detail }];
    }
    if (typeof value === 'string' && isLabelValue(value)) return [];
    const detail =
      typeof value === 'string' && value.length > 63
        ? 'must be no more than 63 characters'
        : "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
    return [{ type: 'FieldValueInvalid', field, value, detail }];
  });
}

function validateAnnotations(annotations: Record<string, string> | undefined): FieldError[] {
  const field = 'metadata.annotations';
  let bytes = 0;
  const errors: FieldError[] = [];
  for (const [key, value] of Object.entries(annotations ?? {})) {
    if (!isLabelKey(key.toLowerCase())) {
      errors.push({
        type: 'FieldValueInvalid',
        field,
        value: key,
        detail: "name part must consist of alphanumeric characters, '-', '_' or '.'",
      });
    }
    bytes += Buffer.byteLength(key) + Buffer.byteLength(String(value));
  }
  if (bytes > MAX_ANNOTATIONS_BYTES) {
    const detail = `may not be more than ${MAX_ANNOTATIONS_BYTES} bytes (kubectl apply writes a copy of the object into one; kubectl create and kubectl replace do not)`;
    errors.push({ type: 'FieldValueTooLong', field, detail });
  }
  return errors;
}

function validateOwners({ metadata }: StoredObject): FieldError[] {
  const errors: FieldError[] = [];
  const owners = metadata.ownerReferences ?? [];
  for (const [index, owner] of owners.entries()) {
    for (const field of ['apiVersion', 'kind', 'name', 'uid'] as const) {
      if (!owner[field]) {
        errors.push({
          type: 'FieldValueRequired',
          field: `metadata.ownerReferences[${index}].${field}`,
          detail: 'must not be empty',
        });
      }
    }
  }
  if (owners.filter((owner) => owner.controller === true).length > 1) {
    errors.push({
      type: 'FieldValueInvalid',
      field: 'metadata.ownerReferences',
      value: owners.map((owner) => owner.name),
      detail: 'Only one reference can have Controller set to true',
    });
  }
  return errors;
}
