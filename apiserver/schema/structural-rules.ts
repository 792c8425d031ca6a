// The rules that make an OpenAPI schema structural: every value has a known type, so that it can be pruned, defaulted
// and published.
import { messageOf } from '../../lib/errors.ts';
import { applyDefaults } from './defaults.ts';
import type { FieldError } from './field-error.ts';
import { childPath, isObject } from './objects.ts';
import { compilePattern } from './pattern.ts';
import { prune } from './prune.ts';
import type { StructuralSchema } from './structural.ts';
import { validateSchema } from './validate.ts';

const TYPES = ['object', 'array', 'string', 'integer', 'number', 'boolean'];
/** Keywords of OpenAPI or JSON Schema that a structural schema may not use. */
const FORBIDDEN = ['$ref', 'definitions', 'dependencies', 'patternProperties', 'additionalItems'];
/** Keywords that belong to the structure, and so not inside allOf, anyOf, oneOf and not. */
const STRUCTURE_ONLY = [
  'type',
  'default',
  'additionalProperties',
  'nullable',
  'description',
  'title',
  'x-kubernetes-validations',
];
const JUNCTORS = ['allOf', 'anyOf', 'oneOf'] as const;
const MAX_DEPTH = 64;
const MAX_ERRORS = 50;

interface Place {
  readonly path: string;
  readonly depth: number;
  /** Inside a junctor: value checks only. */
  readonly isValueCheck: boolean;
  /** apiVersion, kind and metadata have a type of their own. */
  readonly isRoot: boolean;
}

/** What keeps `schema` (any JSON object) from being structural, with paths below `path`. */
export function validateStructural(schema: object, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const root = schema as Record<string, unknown>;
  if (root['type'] !== 'object') {
    errors.push(invalid(childPath(path, 'type'), root['type'] ?? '', 'must be object at the root'));
  }
  if (root['nullable'] === true)
    errors.push(forbidden(childPath(path, 'nullable'), 'nullable cannot be true at the root'));
  checkNode(root, { path, depth: 0, isValueCheck: false, isRoot: true }, errors);
  return errors.slice(0, MAX_ERRORS);
}

function invalid(field: string, value: unknown, detail: string): FieldError {
  return { type: 'FieldValueInvalid', field, value, detail };
}

function forbidden(field: string, detail: string): FieldError {
  return { type: 'FieldValueForbidden', field, detail };
}

function checkNode(schema: unknown, place: Place, errors: FieldError[]): void {
  const { path } = place;
  if (errors.length >= MAX_ERRORS) return;
  if (!isObject(schema)) {
    errors.push(invalid(path, typeof schema, 'must be a schema'));
    return;
  }
  if (place.depth > MAX_DEPTH) {
    errors.push(forbidden(path, `schemas must not be nested deeper than ${MAX_DEPTH} levels`));
    return;
  }
  for (const key of FORBIDDEN)
    if (Object.hasOwn(schema, key)) errors.push(forbidden(childPath(path, key), `${key} is not supported`));
  if (schema['uniqueItems'] === true) {
    errors.push(
      forbidden(childPath(path, 'uniqueItems'), 'uniqueItems cannot be true, use x-kubernetes-list-type=set'),
    );
  }
  if (place.isValueCheck) checkValueCheck(schema, path, errors);
  else checkType(schema, place, errors);
  checkPattern(schema, path, errors);
  checkLists(schema, place, errors);
  checkChildren(schema, place, errors);
  if (!place.isValueCheck) checkDefault(schema, path, errors);
}

function checkValueCheck(schema: Record<string, unknown>, path: string, errors: FieldError[]): void {
  // The one form that generators write for int-or-string repeats types inside anyOf.
  for (const key of STRUCTURE_ONLY) {
    if (!Object.hasOwn(schema, key)) continue;
    if (key === 'type' && (schema['type'] === 'integer' || schema['type'] === 'string')) continue;
    errors.push(forbidden(childPath(path, key), `must be empty to be structural`));
  }
}

function checkType(schema: Record<string, unknown>, place: Place, errors: FieldError[]): void {
  const { path } = place;
  const { type } = schema;
  const isIntOrString = schema['x-kubernetes-int-or-string'] === true;
  const preserves = schema['x-kubernetes-preserve-unknown-fields'];
  if (type === undefined || type === '') {
    if (!isIntOrString && preserves !== true && !place.isRoot) {
      errors.push({
        type: 'FieldValueRequired',
        field: childPath(path, 'type'),
        detail: 'must not be empty for specified object fields',
      });
    }
  } else if (typeof type !== 'string' || !TYPES.includes(type)) {
    const detail = `supported values: ${TYPES.map((each) => JSON.stringify(each)).join(', ')}`;
    errors.push({ type: 'FieldValueNotSupported', field: childPath(path, 'type'), value: type, detail });
  } else if (isIntOrString) {
    errors.push(invalid(childPath(path, 'type'), type, 'must be empty if x-kubernetes-int-or-string is true'));
  }
  if (preserves === false) {
    errors.push(invalid(childPath(path, 'x-kubernetes-preserve-unknown-fields'), false, 'must be true or undefined'));
  }
  if (schema['x-kubernetes-embedded-resource'] === true && type !== 'object') {
    errors.push(
      invalid(childPath(path, 'type'), type ?? '', 'must be object if x-kubernetes-embedded-resource is true'),
    );
  }
}

function checkPattern(schema: Record<string, unknown>, path: string, errors: FieldError[]): void {
  const { pattern } = schema;
  if (pattern === undefined) return;
  try {
    if (typeof pattern !== 'string') throw new Error('must be a string');
    compilePattern(pattern);
  } catch (error) {
    errors.push(
      invalid(
        childPath(path, 'pattern'),
        pattern,
        `must be a valid regular expression, but isn't: ${messageOf(error)}`,
      ),
    );
  }
}

function checkLists(schema: Record<string, unknown>, { path, isValueCheck }: Place, errors: FieldError[]): void {
  const type = schema['x-kubernetes-list-type'];
  const keys = schema['x-kubernetes-list-map-keys'];
  if (schema['type'] === 'array' && schema['items'] === undefined && !isValueCheck) {
    errors.push({ type: 'FieldValueRequired', field: childPath(path, 'items'), detail: 'must be specified' });
  }
  if (type === undefined) return;
  const at = childPath(path, 'x-kubernetes-list-type');
  if (type !== 'atomic' && type !== 'set' && type !== 'map') {
    errors.push({
      type: 'FieldValueNotSupported',
      field: at,
      value: type,
      detail: 'supported values: "atomic", "map", "set"',
    });
  }
  if (schema['type'] !== 'array') errors.push(invalid(at, type, 'must be used with type array'));
  if (type !== 'map') return;
  const items = isObject(schema['items']) ? schema['items'] : {};
  const properties = isObject(items['properties']) ? items['properties'] : {};
  const required = Array.isArray(items['required']) ? (items['required'] as unknown[]) : [];
  if (!Array.isArray(keys) || keys.length === 0) {
    const field = childPath(path, 'x-kubernetes-list-map-keys');
    errors.push({ type: 'FieldValueRequired', field, detail: 'must not be empty if x-kubernetes-list-type is map' });
    return;
  }
  for (const [index, key] of keys.entries()) {
    const field = `${childPath(path, 'x-kubernetes-list-map-keys')}[${index}]`;
    const property = Object.hasOwn(properties, String(key)) ? properties[String(key)] : undefined;
    if (!isObject(property)) {
      errors.push(invalid(field, key, 'entries must all be names of item properties'));
    } else if (!required.includes(key) && property['default'] === undefined) {
      errors.push({
        type: 'FieldValueRequired',
        field,
        detail: 'this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property',
      });
    }
  }
}

function checkChildren(schema: Record<string, unknown>, place: Place, errors: FieldError[]): void {
  const { path } = place;
  const below = { ...place, depth: place.depth + 1, isRoot: false };
  const { properties, additionalProperties, items } = schema;
  if (isObject(properties)) {
    for (const [key, child] of Object.entries(properties)) {
      const at = `${childPath(path, 'properties')}[${key}]`;
      if (place.isRoot && key === 'metadata') checkMetadata(child, at, errors);
      checkNode(child, { ...below, path: at }, errors);
    }
    if (additionalProperties !== undefined && Object.keys(properties).length > 0) {
      errors.push(
        forbidden(childPath(path, 'additionalProperties'), 'additionalProperties and properties are mutual exclusive'),
      );
    }
  }
  if (additionalProperties === false) {
    errors.push(forbidden(childPath(path, 'additionalProperties'), 'additionalProperties cannot be set to false'));
  } else if (isObject(additionalProperties)) {
    checkNode(additionalProperties, { ...below, path: childPath(path, 'additionalProperties') }, errors);
  }
  if (Array.isArray(items))
    errors.push(forbidden(childPath(path, 'items'), 'items must be a schema object and not an array'));
  else if (items !== undefined) checkNode(items, { ...below, path: childPath(path, 'items') }, errors);
  for (const key of JUNCTORS) {
    const list = schema[key];
    if (!Array.isArray(list)) continue;
    for (const [index, child] of list.entries()) {
      checkNode(child, { ...below, path: `${childPath(path, key)}[${index}]`, isValueCheck: true }, errors);
    }
  }
  if (schema['not'] !== undefined)
    checkNode(schema['not'], { ...below, path: childPath(path, 'not'), isValueCheck: true }, errors);
}

function checkMetadata(schema: unknown, path: string, errors: FieldError[]): void {
  if (!isObject(schema)) return;
  const properties = isObject(schema['properties']) ? Object.keys(schema['properties']) : [];
  if (schema['type'] !== 'object' || properties.some((key) => key !== 'name' && key !== 'generateName')) {
    errors.push(
      forbidden(
        path,
        'must not specify anything other than name and generateName, but metadata is implicitly specified',
      ),
    );
  }
}

/** A default must itself be valid and have no unknown fields, or every new object would be refused. */
function checkDefault(schema: Record<string, unknown>, path: string, errors: FieldError[]): void {
  const value = schema['default'];
  if (value === undefined || errors.length > 0) return;
  const completed = structuredClone(value);
  const at = childPath(path, 'default');
  const typed = schema as StructuralSchema;
  const [unknown] = schema['x-kubernetes-embedded-resource'] === true ? [] : prune(typed, completed);
  if (unknown !== undefined) errors.push(invalid(at, value, `must not have unknown fields: ${unknown}`));
  applyDefaults(typed, completed);
  for (const error of validateSchema(typed, completed)) {
    errors.push({ ...error, field: error.field === '' ? at : childPath(at, error.field) });
  }
}
